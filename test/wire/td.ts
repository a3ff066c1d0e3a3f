import { readFileSync } from 'node:fs';
import { KVM_TDX } from '../../src/kvm/constants.js';
import { encodeEntries, kvmCpuid2 } from '../../src/wire/layout/cpuid.js';
import { io, iow, iowr } from '../../src/wire/layout/ioctl.js';
import { kvmTdxCmd, kvmTdxInitMemRegion, kvmTdxInitVm } from '../../src/wire/layout/tdx.js';
import {
  kvmCreateGuestMemfd,
  kvmEnableCap,
  kvmMemoryAttributes,
  kvmUserspaceMemoryRegion2,
} from '../../src/wire/layout/vm.js';
import { initParams, TD_GPA, vcpuCpuid } from '../kernel/launch.js';
import type { Descriptor, TestPiece, TestResult, TestThread } from './client.js';

export const REQUEST = {
  CREATE_VM: io(0x01),
  CHECK_EXTENSION: io(0x03),
  CREATE_VCPU: io(0x41),
  SET_USER_MEMORY_REGION2: iow(0x49, kvmUserspaceMemoryRegion2),
  RUN: io(0x80),
  SET_CPUID2: iow(0x90, kvmCpuid2),
  ENABLE_CAP: iow(0xa3, kvmEnableCap),
  MEMORY_ENCRYPT_OP: iowr(0xba, 8),
  SET_MEMORY_ATTRIBUTES: iow(0xd2, kvmMemoryAttributes),
  CREATE_GUEST_MEMFD: iowr(0xd4, kvmCreateGuestMemfd),
} as const;

/** Where the data of a TDX sub-command lies. */
export const DATA = 0x6000_0000n;

/** KVM_MEMORY_ENCRYPT_OP. @param data a value, or what is at DATA. */
export async function tdx(
  thread: TestThread,
  object: Descriptor,
  command: keyof typeof KVM_TDX,
  data: bigint | Uint8Array = 0n,
  flags = 0,
): Promise<TestResult & { hwError: bigint }> {
  const pieces: TestPiece[] = typeof data === 'bigint' ? [] : [{ address: DATA, bytes: data }];
  const cmd = kvmTdxCmd.encode({ id: KVM_TDX[command], flags, data: typeof data === 'bigint' ? data : DATA });
  const answer = await thread.struct(object, REQUEST.MEMORY_ENCRYPT_OP, cmd, pieces);
  return { ...answer, hwError: kvmTdxCmd.decode(answer.bytes).hw_error };
}

export function initVmBytes(): Buffer {
  const { attributes, xfam, cpuid } = initParams();
  const header = kvmTdxInitVm.encode({ attributes, xfam, cpuid: { nent: cpuid.length, padding: 0 } });
  return Buffer.concat([header, encodeEntries(cpuid)]);
}

/** A TD, its vCPU and its guest_memfd, built as test/kernel/launch.ts builds it through the seam. */
export interface WireTd {
  kvm: Descriptor;
  vm: Descriptor;
  vcpu: Descriptor;
  memfd: Descriptor;
}

const made = (what: Descriptor | number): Descriptor => {
  if (typeof what === 'number') throw new Error(`nothing was made: ${what}`);
  return what;
};

const succeed = ({ result }: TestResult): void => {
  if (result < 0) throw new Error(`refused: ${result}`);
};

/** As far as KVM_SET_MEMORY_ATTRIBUTES: nothing added yet. */
export async function buildTd(thread: TestThread, pages = 16): Promise<WireTd> {
  const kvm = await thread.open();
  const vm = made(await thread.make(kvm, REQUEST.CREATE_VM, 5n));
  succeed(await thread.struct(vm, REQUEST.ENABLE_CAP, kvmEnableCap.encode({ cap: 121, args: [24n] })));
  succeed(await tdx(thread, vm, 'INIT_VM', initVmBytes()));
  const vcpu = made(await thread.make(vm, REQUEST.CREATE_VCPU, 0n));
  const cpuid = Buffer.concat([kvmCpuid2.encode({ nent: vcpuCpuid.length }), encodeEntries(vcpuCpuid)]);
  succeed(await thread.struct(vcpu, REQUEST.SET_CPUID2, cpuid));
  succeed(await tdx(thread, vcpu, 'INIT_VCPU', 0x1234n));
  const size = BigInt(pages) * 4096n;
  const memfd = made(await thread.make(vm, REQUEST.CREATE_GUEST_MEMFD, kvmCreateGuestMemfd.encode({ size })));
  const region = kvmUserspaceMemoryRegion2.encode({
    flags: 4,
    guest_phys_addr: TD_GPA,
    memory_size: size,
    userspace_addr: 0x7000_0000_0000n,
    guest_memfd: 9,
  });
  succeed(await thread.struct(vm, REQUEST.SET_USER_MEMORY_REGION2, region, [], [memfd.id, 1n]));
  const attributes = kvmMemoryAttributes.encode({ address: TD_GPA, size, attributes: 8n });
  succeed(await thread.struct(vm, REQUEST.SET_MEMORY_ATTRIBUTES, attributes));
  return { kvm, vm, vcpu, memfd };
}

/** KVM_TDX_INIT_MEM_REGION, measured. @returns also the structure as it is afterwards. */
export async function addPages(thread: TestThread, { vcpu }: WireTd, sourceAddress: bigint, nrPages: number) {
  const region = { source_addr: sourceAddress, gpa: TD_GPA, nr_pages: BigInt(nrPages) };
  const answer = await tdx(thread, vcpu, 'INIT_MEM_REGION', kvmTdxInitMemRegion.encode(region), 1);
  const write = answer.writes.find(({ address }) => address === DATA);
  return { ...answer, region: write && kvmTdxInitMemRegion.decode(write.bytes) };
}

/** Pages of this very process whose content a test can know: a file that is mapped, never to be written. */
export function mappedPages(count: number): { address: bigint; content: Buffer } {
  for (const line of readFileSync('/proc/self/maps', 'latin1').split('\n')) {
    const match = /^([0-9a-f]+)-([0-9a-f]+) r-\S+ ([0-9a-f]+) \S+ \d+ +(\/\S+)$/.exec(line);
    if (!match) continue;
    const [start, end, offset] = match.slice(1, 4).map((hex) => Number.parseInt(hex, 16)) as [number, number, number];
    if (end - start < count * 4096 || !/^\S+ r--p|^\S+ r-xp/.test(line)) continue;
    const content = readFileSync(match[4]!).subarray(offset, offset + count * 4096);
    if (content.length === count * 4096) return { address: BigInt(start), content };
  }
  throw new Error('this process maps no file of that length');
}
