import type { CpuidEntry } from '../kvm/cpuid.js';
import type { TdxCapabilities } from '../kvm/vm.js';
import {
  efault,
  type InitMemRegion,
  type InitVmHeader,
  type TdxCmd,
  type TdxCmdData,
  type UserValue,
} from '../mock/kernel/user.js';

/** Bytes of the caller, of which only the first `mapped` are there. Copies work as copy_from_user and copy_to_user. */
export class UserBytes {
  readonly bytes: Uint8Array;
  readonly #view: DataView;

  constructor(
    initial: Uint8Array,
    readonly mapped: number,
  ) {
    this.bytes = new Uint8Array(mapped);
    this.bytes.set(initial.subarray(0, mapped));
    this.#view = new DataView(this.bytes.buffer);
  }

  #need(end: number): void {
    if (end > this.mapped) efault();
  }

  u32(at: number): number {
    this.#need(at + 4);
    return this.#view.getUint32(at, true);
  }

  u64(at: number): bigint {
    this.#need(at + 8);
    return this.#view.getBigUint64(at, true);
  }

  copyFrom(at: number, length: number): Uint8Array {
    this.#need(at + length);
    return this.bytes.slice(at, at + length);
  }

  /** What fits is written before the rest fails. */
  copyTo(at: number, data: Uint8Array): void {
    this.bytes.set(data.subarray(0, Math.max(this.mapped - at, 0)), at);
    this.#need(at + data.length);
  }
}

const ENTRY = 40;

export function decodeEntries(bytes: Uint8Array): CpuidEntry[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: Math.floor(bytes.length / ENTRY) }, (_, i) => {
    const field = (n: number) => view.getUint32(i * ENTRY + 4 * n, true);
    return {
      function: field(0),
      index: field(1),
      flags: field(2),
      eax: field(3),
      ebx: field(4),
      ecx: field(5),
      edx: field(6),
    };
  });
}

function encodeEntries(entries: readonly CpuidEntry[]): Uint8Array {
  const bytes = new Uint8Array(entries.length * ENTRY);
  const view = new DataView(bytes.buffer);
  for (const [i, e] of entries.entries())
    for (const [n, value] of [e.function, e.index, e.flags, e.eax, e.ebx, e.ecx, e.edx].entries())
      view.setUint32(i * ENTRY + 4 * n, value, true);
  return bytes;
}

/** `struct kvm_tdx_cmd`, of which `mapped` bytes are there. */
export function userCmd(cmd: TdxCmd, mapped: number): UserValue<TdxCmd> & { hwError: bigint } {
  let stored = { ...cmd };
  return {
    read: () => (mapped < 24 ? efault() : { ...stored }),
    write(value) {
      if (mapped < 24) efault();
      stored = { ...value };
    },
    get hwError() {
      return stored.hwError;
    },
  };
}

const AT = {
  XFAM: 8,
  MRCONFIGID: 16,
  MROWNER: 64,
  MROWNERCONFIG: 112,
  RESERVED: 160,
  NENT: 256,
  PADDING: 260,
} as const;
const INIT_VM_HEADER = 264;
const CAPS = { NENT: 2048, ENTRIES: 2056 } as const;

function decodeInitVm(bytes: Uint8Array): InitVmHeader {
  const at = new UserBytes(bytes, bytes.length);
  return {
    attributes: at.u64(0),
    xfam: at.u64(AT.XFAM),
    mrConfigId: at.copyFrom(AT.MRCONFIGID, 48),
    mrOwner: at.copyFrom(AT.MROWNER, 48),
    mrOwnerConfig: at.copyFrom(AT.MROWNERCONFIG, 48),
    reserved: Array.from({ length: 12 }, (_, i) => at.u64(AT.RESERVED + 8 * i)),
    nent: at.u32(AT.NENT),
    padding: at.u32(AT.PADDING),
  };
}

function encodeCapsHeader(caps: TdxCapabilities): Uint8Array {
  const bytes = new Uint8Array(CAPS.ENTRIES);
  const view = new DataView(bytes.buffer);
  const words = [
    caps.supportedAttrs,
    caps.supportedXfam,
    caps.kernelTdvmcallinfo1R11,
    caps.userTdvmcallinfo1R11,
    caps.kernelTdvmcallinfo1R12,
    caps.userTdvmcallinfo1R12,
  ];
  for (const [i, word] of words.entries()) view.setBigUint64(8 * i, word, true);
  view.setUint32(CAPS.NENT, caps.cpuid.length, true);
  return bytes;
}

/** What kvm_tdx_cmd.data leads to, where it leads to `user`. */
export const bytesAt = (user: UserBytes): TdxCmdData => ({
  initVm: () => ({
    readHeader: () => decodeInitVm(user.copyFrom(0, INIT_VM_HEADER)),
    readEntries: (nent) => decodeEntries(user.copyFrom(INIT_VM_HEADER, nent * ENTRY)),
  }),
  capabilities: () => ({
    readNent: () => user.u32(CAPS.NENT),
    writeHeader: (caps) => user.copyTo(0, encodeCapsHeader(caps)),
    writeEntries: (entries) => user.copyTo(CAPS.ENTRIES, encodeEntries(entries)),
  }),
  cpuid2: () => ({
    readNent() {
      user.copyFrom(0, 8);
      return user.u32(0);
    },
    writeNent(nent) {
      const header = user.copyFrom(0, 8);
      new DataView(header.buffer).setUint32(0, nent, true);
      user.copyTo(0, header);
    },
    writeEntries: (entries) => user.copyTo(8, encodeEntries(entries)),
  }),
  memRegion: () => memRegionAt(user),
});

function memRegionAt(user: UserBytes): UserValue<InitMemRegion> {
  return {
    read() {
      user.copyFrom(0, 24);
      return { sourceAddr: user.u64(0), gpa: user.u64(8), nrPages: user.u64(16) };
    },
    write: (region) => user.copyTo(0, encodeRegion(region)),
  };
}

export function encodeRegion({ sourceAddr, gpa, nrPages }: InitMemRegion): Uint8Array {
  const bytes = new Uint8Array(24);
  const view = new DataView(bytes.buffer);
  for (const [i, word] of [sourceAddr, gpa, nrPages].entries()) view.setBigUint64(8 * i, word, true);
  return bytes;
}
