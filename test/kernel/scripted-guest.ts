import { setImmediate } from 'node:timers/promises';
import { KVM_CAP, KVM_MEM_GUEST_MEMFD, KVM_MEMORY_ATTRIBUTE_PRIVATE } from '../../src/kvm/constants.js';
import type { GuestMemory, KvmVcpu, KvmVm } from '../../src/kvm/index.js';
import type { Clock } from '../../src/mock/clock.js';
import type { Fault } from '../../src/mock/index.js';
import { DEFAULT_PROFILE, loadProfile, MockHost, openMock } from '../../src/mock/index.js';
import type { TdRun } from '../../src/mock/kernel/run/td-run.js';
import type { SeamcallTrace } from '../../src/mock/kernel/seamcalls.js';
import type { EnterHost, VpEnterArgs, VpEnterResult } from '../../src/mock/module/seamcall.js';
import { entry, initParams, TD_GPA, vcpuCpuid } from './launch.js';

/** What TDH.VP.ENTER returns to KVM; registers left out are 0. */
export type Exit = Partial<VpEnterResult> & Pick<VpEnterResult, 'status'>;

/**
 * A guest as the TDX module would show it to KVM: it yields its TD exits and is given the registers with which it is
 * entered again. `spin` executes until the host wants its processor back.
 */
export type Guest = (td: { host: () => EnterHost }) => Generator<Exit | 'spin', void, VpEnterArgs>;

const ZEROS = {
  ...{ rcx: 0n, rdx: 0n, rbx: 0n, rsi: 0n, rdi: 0n, r8: 0n, r9: 0n, r10: 0n, r11: 0n },
  ...{ r12: 0n, r13: 0n, r14: 0n, r15: 0n },
};

/** TDG.VP.VMCALL with a leaf in R11. */
export const vmcall = (leaf: number, registers: Partial<VpEnterResult> = {}): Exit => ({
  status: 77n,
  r11: BigInt(leaf),
  ...registers,
});

export const hlt = (interruptsBlocked = 0n): Exit => vmcall(12, { r12: interruptsBlocked });
export const out = (port: number, value: number, size = 1): Exit =>
  vmcall(30, { r12: BigInt(size), r13: 1n, r14: BigInt(port), r15: BigInt(value) });
export const inp = (port: number, size = 1): Exit => vmcall(30, { r12: BigInt(size), r14: BigInt(port) });
export const eptViolation = (gpa: bigint, registers: Partial<VpEnterResult> = {}): Exit => ({
  status: 48n,
  r8: gpa,
  rcx: 2n,
  ...registers,
});

export const SHARED = 1n << 47n;

export interface Scripted {
  host: MockHost;
  vm: KvmVm;
  vcpus: KvmVcpu[];
  vcpu: KvmVcpu;
  memory: GuestMemory;
  /** SEAMCALLs so far, with what they returned. */
  trace: SeamcallTrace[];
  /** What KVM keeps of a vCPU. */
  kernel(id: number): TdRun;
  close(): void;
}

export interface ScriptOptions {
  faults?: Fault[];
  /** KVM_CAP_EXIT_HYPERCALL is enabled; default true. */
  exitHypercall?: boolean;
  /** In front of what every vCPU has. */
  cpuid?: ReturnType<typeof entry>[];
  clock?: Clock;
  /** KVM_CAP_X86_APIC_BUS_CYCLES_NS; KVM's own is 1. */
  busCycleNs?: bigint;
}

/** MAXPHYADDR that covers the shared bit, so that MapGPA of shared addresses is legal. */
const WIDTHS = [entry(0x8000_0000, { eax: 0x8000_0008 }), entry(0x8000_0008, { eax: 52 | (48 << 16) })];

/** A finalised TD with 16 private pages at TD_GPA, and a vCPU for each guest. */
export function scriptedTd(guests: Guest | Guest[], options: ScriptOptions = {}): Scripted {
  const scripts = Array.isArray(guests) ? guests : [guests];
  const trace: SeamcallTrace[] = [];
  const host = new MockHost(loadProfile(DEFAULT_PROFILE), {
    faults: options.faults ?? [],
    onSeamcall: (call) => trace.push(call),
    ...(options.clock && { clock: options.clock }),
    engine: async () => ({ name: 'interpreter', description: 'a script', openTd: () => expectNone(), close() {} }),
  });
  const system = openMock({ host });
  const vm = system.createVm(5);
  vm.enableCap(KVM_CAP.SPLIT_IRQCHIP, [24n]);
  if (options.busCycleNs !== undefined) vm.enableCap(KVM_CAP.X86_APIC_BUS_CYCLES_NS, [options.busCycleNs]);
  if (options.exitHypercall ?? true) vm.enableCap(KVM_CAP.EXIT_HYPERCALL, [0x1000n]);
  vm.tdx.initVm(initParams());
  const vcpus = scripts.map((_, id) => {
    const vcpu = vm.createVcpu(id);
    vcpu.setCpuid2([...(options.cpuid ?? []), ...vcpuCpuid, ...WIDTHS]);
    vcpu.tdx.initVcpu(0n);
    return vcpu;
  });
  const size = 16 * 4096;
  const memory = system.createMemory(size);
  const guestMemfd = vm.createGuestMemfd(size);
  vm.setUserMemoryRegion2({ slot: 0, flags: KVM_MEM_GUEST_MEMFD, gpa: TD_GPA, size, memory, guestMemfd });
  vm.setMemoryAttributes(TD_GPA, BigInt(size), KVM_MEMORY_ATTRIBUTE_PRIVATE);
  vm.tdx.finalizeVm();
  play(host, scripts);
  trace.length = 0;
  const kernel = (id: number) => [...host.vms][0]!.vcpus.get(id)!.td!.run;
  return { host, vm, vcpus, vcpu: vcpus[0]!, memory, trace, kernel, close: () => system.close() };
}

const expectNone = (): never => {
  throw new Error('no guest is executed here');
};

/** Puts the scripts in the place of TDH.VP.ENTER, one per vCPU. */
function play(host: MockHost, scripts: Guest[]): void {
  const guests = scripts.map((script) => {
    const guest = { host: undefined as unknown as EnterHost, left: undefined as Exit | 'spin' | undefined };
    return { guest, script: script({ host: () => guest.host }) };
  });
  host.tdx!.module.vpEnter = async (args, enterHost) => {
    const [vm] = host.vms;
    const { id } = [...vm!.vcpus.values()].find(({ td }) => td?.tdvpr === args.rcx)!;
    const { guest, script } = guests[id]!;
    guest.host = enterHost;
    enterHost.posted?.take();
    if (guest.left !== 'spin') guest.left = script.next(args).value ?? { status: TRIPLE_FAULT };
    if (guest.left !== 'spin') return { ...ZEROS, ...guest.left };
    await aborted(enterHost.signal);
    return { ...ZEROS, status: 1n };
  };
}

/** TDX_NON_RECOVERABLE_VCPU with the exit reason of a triple fault: how a script that ends leaves. */
const TRIPLE_FAULT = 0x4000_0001_0000_0002n;

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });

/** Turns of the event loop: each lets every vCPU that runs go on by a step or more, however busy the machine is. */
export async function turns(count = 50): Promise<void> {
  for (let i = 0; i < count; i++) await setImmediate();
}
