import type { CpuidEntry } from '../../../kvm/cpuid.js';
import type { KvmSegment, KvmSystem, KvmVcpu, VcpuExit } from '../../../kvm/index.js';
import { hostTable } from './cpuid-table.js';

/** How this host shows what an engine needs to see. */
export interface Abilities {
  /** What TDCALL does: leaves KVM_RUN by an internal error, or is an undefined opcode to the guest. */
  tdcall: 'internal-error' | 'undefined-opcode';
  /** Whether RIP is behind an OUT when KVM gives the exit. */
  outAdvances: boolean;
  /** SHARED bits, 47 or 51, that a page table may hold. */
  sharedBits: readonly number[];
  /**
   * Set where KVM emulates privileged code instead of letting the processor execute it (kernels without VMX and SVM):
   * millions of instructions a second, roughly.
   */
  emulates?: number;
  /**
   * Features that a guest sees in CPUID(1).ECX although its table (KVM_SET_CPUID2) leaves them out. 0 wherever the processor lets
   * KVM answer CPUID; a kernel without VMX and SVM may have to show its guests what they can execute anyway.
   */
  unhidden: number;
}

const CODE = 0x1000;
const PML4 = 0x2000;
const PDPT = 0x3000;
const DIRECTORY = 0x4000;
const MEMORY = 0x5000;
const LARGE_PAGE = 0xe3n; // present, writable, accessed, dirty, large
const TABLE = 0x23n;
const OUT = [0xe6, 0x80, 0xf4];
const TDCALL = [0x66, 0x0f, 0x01, 0xcc, 0xf4];
/** mov eax, 1; cpuid; hlt */
const CPUID = [0xb8, 1, 0, 0, 0, 0x0f, 0xa2, 0xf4];
/** CPUID(1).ECX: FMA, AVX, F16C, which hang on XFAM. */
const AVX = 0x3000_1000;
/** mov al, [0x200000]; hlt */
const READ_WINDOW = [0x8a, 0x04, 0x25, 0, 0, 0x20, 0, 0xf4];
const ROUNDS = 10_000;
/** mov ecx, ROUNDS; again: dec ecx; jnz again; hlt */
const LOOP = [0xb9, ROUNDS & 0xff, ROUNDS >> 8, 0, 0, 0xff, 0xc9, 0x75, 0xfc, 0xf4];
/** A processor needs microseconds for the loop, and the run around it less than a millisecond. */
const SLOWER_THAN = 2.5;
/** A probe takes less than a millisecond. */
const TIME_LIMIT = 2000;

const segment = (type: number, l: number): KvmSegment => ({
  base: 0n,
  limit: 0xffff_ffff,
  selector: 8,
  type,
  present: 1,
  dpl: 0,
  db: 1 - l,
  s: 1,
  l,
  g: 1,
  avl: 0,
  unusable: 0,
});

interface Outcome {
  exit: VcpuExit;
  rip: bigint;
  rcx: bigint;
  milliseconds: number;
}

/** Runs `code` in 64-bit mode with no handler for anything. @param window the GPA behind linear 2 MiB. */
async function runOnce(system: KvmSystem, code: readonly number[], window: bigint): Promise<Outcome> {
  const vm = system.createVm(0);
  const memory = system.createMemory(MEMORY);
  try {
    memory.write(CODE, Uint8Array.from(code));
    memory.write(PML4, new Uint8Array(BigUint64Array.of(BigInt(PDPT) | TABLE).buffer));
    memory.write(PDPT, new Uint8Array(BigUint64Array.of(BigInt(DIRECTORY) | TABLE).buffer));
    memory.write(DIRECTORY, new Uint8Array(BigUint64Array.of(LARGE_PAGE, window | LARGE_PAGE).buffer));
    vm.setUserMemoryRegion({ slot: 0, gpa: 0n, size: MEMORY, memory });
    const vcpu = vm.createVcpu(0);
    vcpu.setCpuid2(hostTable(system.getSupportedCpuid(), 52).map(withoutAvx));
    enterLongMode(vcpu);
    const start = performance.now();
    const exit = await vcpu.run({ signal: AbortSignal.timeout(TIME_LIMIT) });
    const { rip, rcx } = vcpu.getRegs();
    return { exit, rip, rcx, milliseconds: performance.now() - start };
  } finally {
    vm.close();
    memory.close();
  }
}

function enterLongMode(vcpu: KvmVcpu): void {
  const data = segment(3, 0);
  vcpu.setSregs({
    ...vcpu.getSregs(),
    ...{ cs: segment(11, 1), ds: data, es: data, fs: data, gs: data, ss: data },
    idt: { base: 0n, limit: 0 },
    cr0: 0x8000_0031n,
    cr3: BigInt(PML4),
    cr4: 0x60n,
    efer: 0xd01n,
  });
  vcpu.setRegs({ ...vcpu.getRegs(), rip: BigInt(CODE), rflags: 2n });
}

async function tdcall(system: KvmSystem): Promise<Abilities['tdcall']> {
  const { exit, rip } = await runOnce(system, TDCALL, 0n);
  if (exit.reason === 'internal-error' && rip === BigInt(CODE)) return 'internal-error';
  if (exit.reason === 'shutdown') return 'undefined-opcode';
  throw new Error(`a guest's TDCALL ends in "${exit.reason}" at ${rip.toString(16)}, of which nothing can be made`);
}

async function outAdvances(system: KvmSystem): Promise<boolean> {
  const { exit, rip } = await runOnce(system, OUT, 0n);
  if (exit.reason !== 'io') throw new Error(`a guest's port write ends in "${exit.reason}"`);
  return rip !== BigInt(CODE);
}

async function takesShared(system: KvmSystem, bit: number): Promise<boolean> {
  const shared = 1n << BigInt(bit);
  const { exit } = await runOnce(system, READ_WINDOW, shared);
  return exit.reason === 'mmio' && exit.gpa === shared;
}

const withoutAvx = (entry: CpuidEntry): CpuidEntry =>
  entry.function === 1 ? { ...entry, ecx: (entry.ecx & ~AVX) >>> 0 } : entry;

async function unhidden(system: KvmSystem): Promise<number> {
  const { exit, rcx } = await runOnce(system, CPUID, 0n);
  if (exit.reason !== 'hlt') throw new Error(`a guest's CPUID ends in "${exit.reason}"`);
  return Number(rcx & BigInt(AVX));
}

/** Millions of privileged instructions a second, where they are so few that no processor executes them. */
async function emulatedSpeed(system: KvmSystem): Promise<number | undefined> {
  const { milliseconds } = await runOnce(system, LOOP, 0n);
  const speed = (2 * ROUNDS) / milliseconds / 1000;
  return speed < SLOWER_THAN ? speed : undefined;
}

/**
 * Finds out by tiny guests how TDCALL, CPUID, ports and addresses with a SHARED bit appear on this host.
 * @throws Error that says what a plain VM does not do here; KvmError of a refused request.
 */
export async function probe(system: KvmSystem): Promise<Abilities> {
  const sharedBits: number[] = [];
  for (const bit of [47, 51]) if (await takesShared(system, bit)) sharedBits.push(bit);
  if (sharedBits.length === 0) {
    throw new Error('page tables of its guests cannot hold a SHARED bit: physical addresses are too narrow');
  }
  const emulates = await emulatedSpeed(system);
  return {
    tdcall: await tdcall(system),
    outAdvances: await outAdvances(system),
    sharedBits,
    unhidden: await unhidden(system),
    ...(emulates !== undefined && { emulates }),
  };
}
