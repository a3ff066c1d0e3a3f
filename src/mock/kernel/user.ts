// Memory of the process that issues a request, as the kernel sees it. Every access happens when the kernel would make
// it and may fail with EFAULT (a thrown Refusal), so that the order of checks is the kernel's whoever supplies the memory.

import type { CpuidEntry } from '../../kvm/cpuid.js';
import type { TdxCapabilities } from '../../kvm/vm.js';
import { Refusal } from './refusal.js';

/** The process: its pages and whether a signal waits for it. */
export interface Task {
  /** The live bytes of the page at a page-aligned address, or undefined where nothing is mapped (get_user_pages_fast). */
  page(address: bigint): Uint8Array | undefined;
  /** copy_from_user() within one page: the bytes, or undefined where nothing is mapped. */
  readUser(address: bigint, length: number): Uint8Array | undefined;
  /** copy_to_user() within one page: false where nothing is mapped. */
  writeUser(address: bigint, bytes: Uint8Array): boolean;
  /** signal_pending(current). */
  signalPending(): boolean;
}

/** A structure in user memory. */
export interface UserValue<T> {
  read(): T;
  write(value: T): void;
}

/** `struct kvm_tdx_cmd`. */
export interface TdxCmd {
  id: number;
  flags: number;
  data: bigint;
  hwError: bigint;
}

/** `struct kvm_tdx_init_vm` up to its entries. */
export interface InitVmHeader {
  attributes: bigint;
  xfam: bigint;
  /** 48 bytes each. */
  mrConfigId: Uint8Array;
  mrOwner: Uint8Array;
  mrOwnerConfig: Uint8Array;
  /** 12 numbers; left out means zeros. */
  reserved?: readonly bigint[];
  nent: number;
  padding?: number;
}

/** `struct kvm_tdx_init_mem_region`. */
export interface InitMemRegion {
  sourceAddr: bigint;
  gpa: bigint;
  nrPages: bigint;
}

export interface UserInitVm {
  readHeader(): InitVmHeader;
  readEntries(nent: number): readonly CpuidEntry[];
}

export interface UserCapabilities {
  readNent(): number;
  /** Everything up to the entries; nent is the number of entries. */
  writeHeader(caps: TdxCapabilities): void;
  writeEntries(entries: readonly CpuidEntry[]): void;
}

/** `struct kvm_cpuid2`. */
export interface UserCpuid2 {
  readNent(): number;
  writeNent(nent: number): void;
  writeEntries(entries: readonly CpuidEntry[]): void;
}

/** What kvm_tdx_cmd.data of a sub-command leads to. */
export interface TdxCmdData {
  initVm(data: bigint): UserInitVm;
  capabilities(data: bigint): UserCapabilities;
  memRegion(data: bigint): UserValue<InitMemRegion>;
  cpuid2(data: bigint): UserCpuid2;
}

export const efault = (): never => {
  throw new Refusal('kvm.user-memory');
};

const unmapped: TdxCmdData = { initVm: efault, capabilities: efault, memRegion: efault, cpuid2: efault };

/** Data of a sub-command that has only what is given; the rest is not mapped. */
export const tdxCmdData = (parts: Partial<TdxCmdData>): TdxCmdData => ({ ...unmapped, ...parts });

/** A structure that is always mapped. */
export function userValue<T extends object>(initial: T): UserValue<T> & { value: T } {
  return {
    value: { ...initial },
    read() {
      return { ...this.value };
    },
    write(value) {
      this.value = { ...value };
    },
  };
}
