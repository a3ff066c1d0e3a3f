// The smallest guests that get as far as TDCALL, made here byte by byte, so that every backend runs the very same TD.
import { KVM_CAP, KVM_MEM_GUEST_MEMFD, KVM_MEMORY_ATTRIBUTE_PRIVATE } from '../../src/kvm/constants.js';
import type { GuestMemory, KvmSystem, KvmVm, VcpuExit } from '../../src/kvm/index.js';
import { entry, initParams, vcpuCpuid } from '../kernel/launch.js';

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
const RDX = 2;
const RBX = 3;
const RSI = 6;
const RDI = 7;
const R8 = 8;
const R9 = 9;
const R10 = 10;
const R11 = 11;
/** TDG.VP.VMCALL shows the host R10 to R15. */
const R10_TO_R15 = 0xfc00n;
/** And these, too: RDX, RBX, RSI, RDI, R8 and R9. */
const ALL_SHOWN = 0xffccn;

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
/** mov %from, %to */
const move = (from: number, to: number): number[] => [
  0x48 | ((from >> 3) << 2) | (to >> 3),
  0x89,
  0xc0 | ((from & 7) << 3) | (to & 7),
];
/** mov %r11, %r15 */
export const R15_FROM_R11 = [0x4d, 0x89, 0xdf];
/** jmp . */
export const SPIN = [0xeb, 0xfe];
/** ud2, without an interrupt descriptor table */
export const UD2 = [0x0f, 0x0b];
/** A page of the last GiB that no slot has. */
export const NO_MEMORY = 0xc000_1000n;
/** The bit of an address that makes it shared, where the GPAW is 48. */
export const SHARED = 1n << 47n;
/** Where the guest sees shared memory, at the address of the same number. */
export const SHARED_WINDOW = 0xc020_0000n;
/** mov (%rbx), %al; %r15 has the byte afterwards. */
export const load = (address: bigint): number[] => [
  ...mov(RBX, address),
  ...[0x48, 0x31, 0xc0, 0x8a, 0x03],
  ...move(RAX, 15),
];
/** movb $value, (%rbx) */
export const store = (address: bigint, value: number): number[] => [...mov(RBX, address), 0xc6, 0x03, value];
export const TOUCH_NO_MEMORY = load(NO_MEMORY);

const TDCALL = [0x66, 0x0f, 0x01, 0xcc];
/** TDG.MEM.PAGE.ACCEPT of 4 KiB. */
export const accept = (gpa: bigint): number[] => [...mov(RAX, 6n), ...mov(RCX, gpa), ...mov(RDX, 0n), ...TDCALL];

/** TDG.VP.VMCALL with a leaf in R11 and R12 to R15; those left out stay as they are. */
export const vmcall = (leaf: number, ...operands: (bigint | undefined)[]): number[] => [
  ...mov(RAX, 0n),
  ...mov(RCX, R10_TO_R15),
  ...operands.flatMap((value, i) => (value === undefined ? [] : mov(12 + i, value))),
  ...mov(R10, 0n),
  ...mov(R11, BigInt(leaf)),
  ...TDCALL,
];

const REPORT_FATAL_ERROR = 0x1_0003;
/** Shows the host what the last TDG.VP.VMCALL has answered: a fatal error whose registers `answerOf` reads. */
export const ANSWER = [
  ...[move(R10, RBX), move(R11, RDI), move(12, RSI), move(13, R8), move(14, R9), move(15, RDX)].flat(),
  ...mov(RAX, 0n),
  ...mov(RCX, ALL_SHOWN),
  ...mov(R10, 0n),
  ...mov(R11, BigInt(REPORT_FATAL_ERROR)),
  ...TDCALL,
  ...SPIN,
];

/** R10 to R15 as ANSWER reports them. */
export function answerOf(exit: VcpuExit): {
  r10: bigint;
  r11: bigint;
  r12: bigint;
  r13: bigint;
  r14: bigint;
  r15: bigint;
} {
  if (exit.reason !== 'system-event') throw new Error(`the guest has not answered, it left with ${exit.reason}`);
  const [r10, r11, r12, r13, r14, r15] = [RBX, RDI, RSI, R8, R9, RDX].map((register) => exit.data[register]!);
  return { r10: r10!, r11: r11!, r12: r12!, r13: r13!, r14: r14!, r15: r15! };
}

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
  bytes.set(u64(SHARED | (SHARED_WINDOW + BigInt(LARGE_PAGE))), pd + 8);
  const at = 3 * PAGE;
  bytes.set(code, at);
  bytes.set(u64(0x00af_9b00_0000_ffffn), at + GDT + 8);
  bytes.set([15, 0, ...u32(CODE + GDT)], at + GDT + 16);
  bytes.set(longMode(), at + START_32);
  // jmp start_32
  bytes.set([0xe9, ...u32(START_32 - (RESET_VECTOR + 5))], at + RESET_VECTOR);
  return bytes;
}

/** With 52 bits of physical address: the shared bit is one of them. */
const cpuid = [...vcpuCpuid, entry(0x8000_0000, { eax: 0x8000_0008 }), entry(0x8000_0008, { eax: (48 << 16) | 52 })];

export interface TinyTdOptions {
  nrVcpus?: number;
  /** KVM_CAP_EXIT_HYPERCALL; by default MapGPA comes to user space. */
  exitHypercall?: bigint;
  /** Called before KVM_TDX_INIT_VM. */
  prepare?: (vm: KvmVm) => void;
}

/** A finalised TD whose vCPUs all execute `code`, 64-bit, from its beginning. */
export function tinyTd(system: KvmSystem, code: readonly number[], options: TinyTdOptions = {}) {
  const { nrVcpus = 1, exitHypercall = 0x1000n, prepare } = options;
  const vm = system.createVm(5);
  vm.enableCap(KVM_CAP.SPLIT_IRQCHIP, [24n]);
  vm.enableCap(KVM_CAP.EXIT_HYPERCALL, [exitHypercall]);
  prepare?.(vm);
  vm.tdx.initVm(initParams());
  const vcpus = Array.from({ length: nrVcpus }, (_, id) => {
    const vcpu = vm.createVcpu(id);
    vcpu.setCpuid2(cpuid);
    vcpu.tdx.initVcpu(0n);
    return vcpu;
  });
  const bytes = image(code);
  const gpa = BigInt(BASE);
  const memory = slotOf(system, vm, 0, gpa, bytes.length);
  memory.write(0, bytes);
  vm.setMemoryAttributes(gpa, BigInt(bytes.length), KVM_MEMORY_ATTRIBUTE_PRIVATE);
  vcpus[0]!.tdx.initMemRegion({ source: memory, sourceOffset: 0, gpa, nrPages: bytes.length / PAGE, measure: true });
  vm.tdx.finalizeVm();
  return { system, vm, vcpus, vcpu: vcpus[0]! };
}

/** A slot with memory and a guest_memfd. @returns the memory, which the guest sees where it is shared. */
export function slotOf(system: KvmSystem, vm: KvmVm, slot: number, gpa: bigint, size: number): GuestMemory {
  const memory = system.createMemory(size);
  const guestMemfd = vm.createGuestMemfd(size);
  vm.setUserMemoryRegion2({ slot, flags: KVM_MEM_GUEST_MEMFD, gpa, size, memory, guestMemfd });
  return memory;
}
