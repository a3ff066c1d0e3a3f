// The smallest guests that get as far as TDCALL, made here byte by byte, so that every backend runs the very same TD.
import { KVM_CAP, KVM_MEM_GUEST_MEMFD, KVM_MEMORY_ATTRIBUTE_PRIVATE } from '../../src/kvm/constants.js';
import type { KvmSystem, KvmVcpu, KvmVm } from '../../src/kvm/index.js';
import { initParams, vcpuCpuid } from '../kernel/launch.js';

/** Four pages that end at 4 GiB: page tables of the last GiB below it, and code. */
const BASE = 0xffff_c000;
const PAGE = 4096;
const CODE = BASE + 3 * PAGE;
const PRESENT_WRITABLE = 0x23;
const LARGE_PAGE = 0xe3;
const GDT = 0xf00;
const START_32 = 0xf40;
const RESET_VECTOR = 0xff0;

const RAX = 0;
const RCX = 1;
const RBX = 3;
const R10 = 10;
const R11 = 11;
/** TDG.VP.VMCALL shows the host R10 to R15. */
const R10_TO_R15 = 0xfc00n;

const u32 = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);
const u64 = (value: bigint): number[] => [
  ...u32(Number(value & 0xffff_ffffn)),
  ...u32(Number((value >> 32n) & 0xffff_ffffn)),
];

/** mov $value, %register */
const mov = (register: number, value: bigint): number[] => [
  0x48 | (register >> 3),
  0xb8 | (register & 7),
  ...u64(value),
];
/** mov %r11, %r15 */
export const R15_FROM_R11 = [0x4d, 0x89, 0xdf];
/** jmp . */
export const SPIN = [0xeb, 0xfe];
/** ud2, without an interrupt descriptor table */
export const UD2 = [0x0f, 0x0b];
/** A page of the last GiB that no slot has. */
export const NO_MEMORY = 0xc000_1000n;
/** mov (%rbx), %al of NO_MEMORY */
export const TOUCH_NO_MEMORY = [...mov(RBX, NO_MEMORY), 0x8a, 0x03];

/** TDG.VP.VMCALL with a leaf in R11 and R12 to R15; those left out stay as they are. */
export const vmcall = (leaf: number, ...operands: (bigint | undefined)[]): number[] => [
  ...mov(RAX, 0n),
  ...mov(RCX, R10_TO_R15),
  ...operands.flatMap((value, i) => (value === undefined ? [] : mov(12 + i, value))),
  ...mov(R10, 0n),
  ...mov(R11, BigInt(leaf)),
  ...[0x66, 0x0f, 0x01, 0xcc],
];

const IO = 30;
/** One byte; the value in R15 if none is given. */
export const out = (port: number, value?: number): number[] =>
  vmcall(IO, 1n, 1n, BigInt(port), value === undefined ? undefined : BigInt(value));
/** One byte, into R11. */
export const inp = (port: number): number[] => vmcall(IO, 1n, 0n, BigInt(port), 0n);

/** From the reset vector, 32-bit code, to 64-bit code at CODE. */
const longMode = (): number[] => [
  ...[0x2e, 0x0f, 0x01, 0x15, ...u32(CODE + GDT + 16)], // lgdtl %cs:gdt_pointer
  ...[0x0f, 0x20, 0xe0, 0x83, 0xc8, 0x20, 0x0f, 0x22, 0xe0], // CR4 |= PAE
  ...[0xb8, ...u32(BASE), 0x0f, 0x22, 0xd8], // CR3 = PML4
  ...[0x0f, 0x20, 0xc0, 0x0d, ...u32(0x8000_0000), 0x0f, 0x22, 0xc0], // CR0 |= PG
  ...[0xea, ...u32(CODE), 8, 0], // ljmpl $8, $CODE
];

function image(code: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(4 * PAGE);
  const [pml4, pdpt, pd] = [0, PAGE, 2 * PAGE];
  const table = (gpa: number) => u32(gpa + PRESENT_WRITABLE);
  bytes.set(table(BASE + PAGE), pml4);
  bytes.set(table(BASE + 2 * PAGE), pdpt + 3 * 8);
  for (let i = 0; i < 512; i++) bytes.set(u32(0xc000_0000 + i * 0x20_0000 + LARGE_PAGE), pd + i * 8);
  const at = 3 * PAGE;
  bytes.set(code, at);
  bytes.set(u64(0x00af_9b00_0000_ffffn), at + GDT + 8);
  bytes.set([15, 0, ...u32(CODE + GDT)], at + GDT + 16);
  bytes.set(longMode(), at + START_32);
  // jmp start_32
  bytes.set([0xe9, ...u32(START_32 - (RESET_VECTOR + 5))], at + RESET_VECTOR);
  return bytes;
}

/** A finalised TD whose vCPUs all execute `code`, 64-bit, from its beginning. */
export function tinyTd(system: KvmSystem, code: readonly number[], nrVcpus = 1): { vm: KvmVm; vcpus: KvmVcpu[] } {
  const vm = system.createVm(5);
  vm.enableCap(KVM_CAP.SPLIT_IRQCHIP, [24n]);
  vm.enableCap(KVM_CAP.EXIT_HYPERCALL, [0x1000n]);
  vm.tdx.initVm(initParams());
  const vcpus = Array.from({ length: nrVcpus }, (_, id) => {
    const vcpu = vm.createVcpu(id);
    vcpu.setCpuid2(vcpuCpuid);
    vcpu.tdx.initVcpu(0n);
    return vcpu;
  });
  const bytes = image(code);
  const size = bytes.length;
  const gpa = BigInt(BASE);
  const memory = system.createMemory(size);
  memory.write(0, bytes);
  const guestMemfd = vm.createGuestMemfd(size);
  vm.setUserMemoryRegion2({ slot: 0, flags: KVM_MEM_GUEST_MEMFD, gpa, size, memory, guestMemfd });
  vm.setMemoryAttributes(gpa, BigInt(size), KVM_MEMORY_ATTRIBUTE_PRIVATE);
  vcpus[0]!.tdx.initMemRegion({ source: memory, sourceOffset: 0, gpa, nrPages: size / PAGE, measure: true });
  vm.tdx.finalizeVm();
  return { vm, vcpus };
}
