import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { KVM_CAP, KVM_MEM_GUEST_MEMFD, KVM_MEMORY_ATTRIBUTE_PRIVATE } from '../../src/kvm/constants.js';
import type { KvmVcpu } from '../../src/kvm/index.js';
import { chooseEngine } from '../../src/mock/guest/choose.js';
import { DEFAULT_PROFILE, type GuestTrace, loadProfile, MockHost, openMock } from '../../src/mock/index.js';
import { nativeStatus, openNative } from '../../src/native/index.js';
import * as guest from './interrupt-guest.js';
import { entry, initParams } from './launch.js';
import { ManualClock } from './manual-clock.js';

const { STI, CLI, HLT, NOP, COUNT_VECTOR, OTHER_VECTOR } = guest;
const MSR = { TPR: 0x808, SPIV: 0x80f, ICR: 0x830, LVTT: 0x832, TMICT: 0x838, SELF_IPI: 0x83f, TSC_DEADLINE: 0x6e0 };
const MS = 1_000_000n;
const PERIODIC = 1n << 17n;
const TO_VCPU_1 = 1n << 32n;
const ENABLE = guest.wrmsrCall(MSR.SPIV, 0x1ffn);
/** One-shot, 1 ms at a bus clock of 25 MHz by 2. */
const TIMER = [...guest.wrmsrCall(MSR.LVTT, BigInt(COUNT_VECTOR)), ...guest.wrmsrCall(MSR.TMICT, 12_500n)];
/** An exit: KVM that emulates a guest's privileged code may look only there whether the guest takes interrupts. */
const EXIT = ENABLE;
const count = (n: number) => ({ reason: 'io', direction: 'out', port: guest.EXIT_PORT, data: Uint8Array.of(n) });

const native = nativeStatus();
const engines = native.available ? (['interpreter', 'kvm'] as const) : (['interpreter'] as const);
if (!native.available) console.warn(`Skipped, interrupts on the engine kvm: ${native.reason}`);

let close = () => {};
afterEach(() => close());

describe.each(engines)('A TD on the engine %s', (wanted) => {
  function td(first: number[], second?: number[]) {
    const clock = new ManualClock();
    const trace: GuestTrace[] = [];
    const host = new MockHost(loadProfile(DEFAULT_PROFILE), {
      engine: () => chooseEngine({ wanted, plainKvm: openNative }),
      onGuest: (seen) => trace.push(seen),
      clock,
    });
    const system = openMock({ host });
    close = () => system.close();
    const vm = system.createVm(5);
    vm.enableCap(KVM_CAP.SPLIT_IRQCHIP, [24n]);
    vm.enableCap(KVM_CAP.X86_APIC_BUS_CYCLES_NS, [40n]);
    vm.tdx.initVm(initParams());
    const vcpus = (second ? [0, 1] : [0]).map((id) => {
      const vcpu = vm.createVcpu(id);
      vcpu.setCpuid2([entry(1, { ecx: (1 << 24) | (1 << 21) })]);
      vcpu.tdx.initVcpu(0n);
      return vcpu;
    });
    const size = guest.IMAGE_SIZE;
    const gpa = BigInt(guest.IMAGE_GPA);
    const memory = system.createMemory(size);
    memory.write(0, guest.interruptGuest(first, second));
    const guestMemfd = vm.createGuestMemfd(size);
    vm.setUserMemoryRegion2({ slot: 0, gpa, size, memory, flags: KVM_MEM_GUEST_MEMFD, guestMemfd });
    vm.setMemoryAttributes(gpa, BigInt(size), KVM_MEMORY_ATTRIBUTE_PRIVATE);
    vcpus[0]!.tdx.initMemRegion({ source: memory, sourceOffset: 0, gpa, nrPages: size / 4096, measure: false });
    vm.tdx.finalizeVm();
    const kernel = (id: number) => [...host.vms][0]!.vcpus.get(id)!.td!.run;
    const halted = async (id = 0) => {
      while (!kernel(id).halted) await turn();
    };
    return { clock, trace, vcpus, vcpu: vcpus[0]!, kernel, halted, vm: [...host.vms][0]! };
  }
  const settle = (vcpu: KvmVcpu) => vcpu.run({ signal: AbortSignal.timeout(10_000) });

  it('sleeps in TDG.VP.VMCALL<HLT> until its timer, and has taken the interrupt when it goes on', async () => {
    const { vcpu, clock, halted, trace } = td([...ENABLE, ...TIMER, ...STI, ...guest.hltCall(), ...guest.tellCount]);
    const run = settle(vcpu);
    await halted();
    clock.pass(MS - 1n);
    await turn();
    clock.pass(1n);
    expect(await run).toMatchObject(count(1));
    expect(trace.filter(({ kind }) => kind === 'interrupt')).toMatchObject([{ vector: COUNT_VECTOR }]);
  });

  it('sleeps in HLT, by way of its #VE handler, which blocks interrupts until it returns', async () => {
    const { vcpu, clock, halted } = td([...ENABLE, ...TIMER, ...STI, ...HLT, ...EXIT, ...guest.tellCount]);
    const run = settle(vcpu);
    await halted();
    clock.pass(MS);
    expect(await run).toMatchObject(count(1));
  });

  it('takes the ticks of a periodic timer while it does something else', async () => {
    const periodic = [
      ...guest.wrmsrCall(MSR.LVTT, PERIODIC | BigInt(COUNT_VECTOR)),
      ...guest.wrmsrCall(MSR.TMICT, 12_500n),
    ];
    const { vcpu, clock, trace } = td([...ENABLE, ...periodic, ...STI, ...guest.waitForCount(3), ...guest.tellCount]);
    const run = settle(vcpu);
    const ticks = () => trace.filter(({ kind }) => kind === 'interrupt').length;
    while (clock.pending === 0) await turn();
    for (let n = 1; n <= 3; n++) {
      clock.pass(MS);
      while (ticks() < n) await turn();
    }
    expect(await run).toMatchObject(count(3));
  });

  it('takes an interrupt that comes while it blocks them as soon as it does not', async () => {
    const program = [...ENABLE, ...CLI, ...guest.nativeWrmsr(MSR.SELF_IPI, COUNT_VECTOR)];
    const { vcpu } = td([...program, ...guest.tellCount, ...STI, ...EXIT, ...guest.tellCount]);
    expect(await settle(vcpu)).toMatchObject(count(0));
    expect(await settle(vcpu)).toMatchObject(count(1));
  });

  it('keeps interrupts below its task priority waiting', async () => {
    const self = (vector: number) => guest.nativeWrmsr(MSR.SELF_IPI, vector);
    const program = [...STI, ...guest.nativeWrmsr(MSR.TPR, 0x4f), ...self(COUNT_VECTOR), ...NOP, ...guest.tellCount];
    const { vcpu, trace } = td([
      ...[...program, ...self(OTHER_VECTOR), ...NOP, ...guest.tellCount],
      ...[...guest.nativeWrmsr(MSR.TPR, 0), ...NOP, ...guest.tellCount],
    ]);
    for (const n of [0, 1, 2]) expect(await settle(vcpu)).toMatchObject(count(n));
    const vectors = trace.flatMap((seen) => (seen.kind === 'interrupt' ? [seen.vector] : []));
    expect(vectors).toEqual([OTHER_VECTOR, COUNT_VECTOR]);
  });

  it('sends an interrupt to another of its vCPUs, which sleeps', async () => {
    const sleeper = [...ENABLE, ...STI, ...guest.hltCall(), ...guest.tellCount];
    const sender = [...ENABLE, ...guest.wrmsrCall(MSR.ICR, TO_VCPU_1 | BigInt(COUNT_VECTOR)), ...guest.tellCount];
    const { vcpus, halted } = td(sender, sleeper);
    const asleep = settle(vcpus[1]!);
    await halted(1);
    expect(await settle(vcpus[0]!)).toMatchObject({ port: guest.EXIT_PORT });
    expect(await asleep).toMatchObject(count(1));
  });

  it('sends an interrupt to another of its vCPUs, which is busy, without an exit of that one', async () => {
    const busy = [...ENABLE, ...STI, ...guest.setFlag, ...guest.waitForCount(1), ...guest.tellCount];
    const ipi = guest.wrmsrCall(MSR.ICR, TO_VCPU_1 | BigInt(COUNT_VECTOR));
    const { vcpus, trace } = td([...ENABLE, ...guest.waitForFlag, ...ipi, ...guest.spin], busy);
    const stop = new AbortController();
    const sender = vcpus[0]!.run({ signal: stop.signal });
    expect(await settle(vcpus[1]!)).toMatchObject(count(1));
    stop.abort();
    await expect(sender).rejects.toMatchObject({ name: 'AbortError' });
    const exits = trace.filter((seen) => seen.kind === 'exit' && seen.vcpu === 1);
    expect(exits.map((seen) => seen.kind === 'exit' && seen.exitReason)).toEqual([77, 77]);
  });

  it('gets an MSI, and an NMI although it blocks interrupts', async () => {
    const { vcpu, vm, halted, kernel } = td([
      ...[...ENABLE, ...STI, ...guest.hltCall(), ...guest.tellCount],
      ...[...CLI, ...guest.hltCall(1), ...guest.tellCount],
    ]);
    const first = settle(vcpu);
    await halted();
    expect(vm.signalMsi(0xfee0_0000n, COUNT_VECTOR)).toBe(1);
    expect(await first).toMatchObject(count(1));
    const second = settle(vcpu);
    await halted();
    kernel(0).apic.accept(0x400, 0);
    expect(await second).toMatchObject(count(2));
  });

  it('ends at an abort while it sleeps, and sleeps on when it is run again', async () => {
    const { vcpu, clock, halted } = td([...ENABLE, ...TIMER, ...STI, ...guest.hltCall(), ...guest.tellCount]);
    const stop = new AbortController();
    const run = vcpu.run({ signal: stop.signal });
    await halted();
    stop.abort();
    await expect(run).rejects.toMatchObject({ name: 'AbortError' });
    clock.pass(MS);
    expect(await settle(vcpu)).toMatchObject(count(1));
  });
});
