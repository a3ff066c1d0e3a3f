import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { entry } from './launch.js';
import { ManualClock } from './manual-clock.js';
import { type Guest, hlt, out, type Scripted, scriptedTd, vmcall } from './scripted-guest.js';

let td: Scripted | undefined;
afterEach(() => td?.close());

const X2APIC = { ESR: 0x828, SPIV: 0x80f, ICR: 0x830, LVTT: 0x832, TMICT: 0x838, TMCCT: 0x839, TDCR: 0x83e } as const;
const TSC_DEADLINE = 0x6e0;
const TSC_FEATURES = entry(1, { ecx: (1 << 24) | (1 << 21) });
const [ONE_SHOT, PERIODIC, DEADLINE, MASKED] = [0, 1 << 17, 2 << 17, 1 << 16];
const VECTOR = 0x40;
const MS = 1_000_000n;
/** KVM_CAP_X86_APIC_BUS_CYCLES_NS of 25 MHz. */
const BUS_CYCLE = 40n;

/** The timer of a vCPU's local APIC, programmed as its guest does. */
function timer() {
  const clock = new ManualClock();
  const idle: Guest = function* () {
    for (;;) yield hlt();
  };
  td = scriptedTd([idle, idle], { clock, cpuid: [TSC_FEATURES], busCycleNs: BUS_CYCLE });
  const { apic, msrs } = td.kernel(0);
  const write = (index: number, value: number | bigint): void => {
    expect(msrs.write(index, BigInt(value), 'guest')).toBe(true);
  };
  const read = (index: number) => msrs.read(index, 'guest');
  write(X2APIC.SPIV, 0x1ff);
  return { clock, apic, write, read, taken: () => apic.posted.take(), tsc: () => td!.kernel(0).td.guestTsc() };
}

describe('The local APIC’s timer', () => {
  it('one-shot: counts down at the bus clock by 2, and posts one interrupt', () => {
    const { clock, write, read, taken } = timer();
    write(X2APIC.LVTT, ONE_SHOT | VECTOR);
    write(X2APIC.TMICT, 12_500);
    clock.pass(250_000n);
    expect(read(X2APIC.TMCCT)).toBe(9375n);
    clock.pass(749_999n);
    expect(taken()).toEqual([]);
    clock.pass(1n);
    expect(taken()).toEqual([VECTOR]);
    expect([read(X2APIC.TMICT), read(X2APIC.TMCCT), clock.pending]).toEqual([12_500n, 0n, 0]);
    clock.pass(10n * MS);
    expect(taken()).toEqual([]);
  });

  it.each([
    [0b0000, 2],
    [0b0001, 4],
    [0b0010, 8],
    [0b0011, 16],
    [0b1000, 32],
    [0b1001, 64],
    [0b1010, 128],
    [0b1011, 1],
  ])('divide configuration %i: by %i', (tdcr, divisor) => {
    const { clock, write, taken } = timer();
    write(X2APIC.TDCR, tdcr);
    write(X2APIC.LVTT, VECTOR);
    write(X2APIC.TMICT, 1000);
    clock.pass(1000n * BUS_CYCLE * BigInt(divisor) - 1n);
    expect(taken()).toEqual([]);
    clock.pass(1n);
    expect(taken()).toEqual([VECTOR]);
  });

  it('a new divide configuration changes the pace of what is left', () => {
    const { clock, write, taken } = timer();
    write(X2APIC.LVTT, VECTOR);
    write(X2APIC.TMICT, 25_000);
    clock.pass(MS);
    write(X2APIC.TDCR, 0b0001);
    clock.pass(2n * MS - 1n);
    expect(taken()).toEqual([]);
    clock.pass(1n);
    expect(taken()).toEqual([VECTOR]);
  });

  it('periodic: once a period, and once for all that went by unseen, without losing its step', () => {
    const { clock, write, read, taken } = timer();
    write(X2APIC.LVTT, PERIODIC | VECTOR);
    write(X2APIC.TMICT, 12_500);
    for (let n = 0; n < 3; n++) {
      clock.pass(MS);
      expect(taken()).toEqual([VECTOR]);
    }
    clock.oversleep(3n * MS + 400_000n);
    expect(taken()).toEqual([VECTOR]);
    expect(read(X2APIC.TMCCT)).toBe(7500n);
    clock.pass(599_999n);
    expect(taken()).toEqual([]);
    clock.pass(1n);
    expect(taken()).toEqual([VECTOR]);
    write(X2APIC.TMICT, 0);
    expect([clock.pending, read(X2APIC.TMCCT)]).toEqual([0, 0n]);
  });

  it('periodic: not more often than every 200 microseconds', () => {
    const { clock, write, taken } = timer();
    write(X2APIC.LVTT, PERIODIC | VECTOR);
    write(X2APIC.TMICT, 1);
    clock.pass(199_999n);
    expect(taken()).toEqual([]);
    clock.pass(1n);
    expect(taken()).toEqual([VECTOR]);
  });

  it('TSC deadline: when the guest’s TSC reaches it, at once where it has; then the MSR is 0', () => {
    const { clock, write, read, taken, tsc } = timer();
    write(X2APIC.LVTT, DEADLINE | VECTOR);
    const deadline = tsc() + 2_000_000n; // of 2 GHz
    write(TSC_DEADLINE, deadline);
    clock.pass(MS - 1n);
    expect([taken(), read(TSC_DEADLINE)]).toEqual([[], deadline]);
    clock.pass(1n);
    expect([taken(), read(TSC_DEADLINE)]).toEqual([[VECTOR], 0n]);
    write(TSC_DEADLINE, 1);
    expect(taken()).toEqual([VECTOR]);
    write(TSC_DEADLINE, tsc() + 2_000_000n);
    write(TSC_DEADLINE, 0);
    expect(clock.pending).toBe(0);
  });

  it('TSC deadline: the initial count is ignored, and a change of the mode forgets what was to come', () => {
    const { clock, write, read } = timer();
    write(X2APIC.LVTT, VECTOR);
    write(X2APIC.TMICT, 1_000_000);
    write(X2APIC.LVTT, DEADLINE | VECTOR);
    expect([clock.pending, read(X2APIC.TMICT)]).toEqual([0, 0n]);
    write(X2APIC.TMICT, 1_000_000);
    expect(clock.pending).toBe(0);
  });

  it('posts nothing while its LVT entry is masked or the APIC disabled', () => {
    const { clock, write, taken } = timer();
    write(X2APIC.LVTT, MASKED | PERIODIC | VECTOR);
    write(X2APIC.TMICT, 12_500);
    clock.pass(MS);
    expect(taken()).toEqual([]);
    write(X2APIC.LVTT, PERIODIC | VECTOR);
    clock.pass(MS);
    expect(taken()).toEqual([VECTOR]);
    write(X2APIC.SPIV, 0xff);
    clock.pass(MS);
    expect(taken()).toEqual([]);
  });

  it('stops when the vCPU is closed', () => {
    const { clock, write } = timer();
    write(X2APIC.LVTT, PERIODIC | VECTOR);
    write(X2APIC.TMICT, 12_500);
    td!.close();
    expect(clock.pending).toBe(0);
  });

  it('wakes a vCPU in HLT', async () => {
    const clock = new ManualClock();
    td = scriptedTd(
      function* () {
        yield vmcall(32, { r12: BigInt(X2APIC.SPIV), r13: 0x1ffn });
        yield vmcall(32, { r12: BigInt(X2APIC.LVTT), r13: BigInt(VECTOR) });
        yield vmcall(32, { r12: BigInt(X2APIC.TMICT), r13: 12_500n });
        yield hlt();
        yield out(0x80, 0);
      },
      { clock, busCycleNs: BUS_CYCLE },
    );
    const run = td.vcpu.run();
    while (clock.pending === 0 || !td.kernel(0).halted) await turn();
    clock.pass(MS);
    expect(await run).toMatchObject({ port: 0x80 });
  });
});

describe('An interrupt', () => {
  it('that is an NMI is left in PEND_NMI of the VCPU before it is entered', async () => {
    td = scriptedTd(function* () {
      yield hlt(1n);
      yield out(0x80, 0);
    });
    const run = td.vcpu.run();
    await turn();
    td.kernel(0).apic.accept(0x400, 0);
    expect(await run).toMatchObject({ port: 0x80 });
    const writes = td.trace.filter(({ leaf }) => leaf === 43);
    expect(writes.map(({ args, result }) => [args.rdx, args.r8, result.status])).toContainEqual([
      0xa000_0000_0000_000bn,
      1n,
      0n,
    ]);
  });

  it('that waits in the guest’s own APIC ends a halt at once: KVM asks the module', async () => {
    td = scriptedTd(function* () {
      yield hlt();
      yield out(0x80, 0);
    });
    const [module] = [td.host.tdx!.module];
    const [guest] = [...module.tds.values()][0]!.vcpus;
    guest!.apic.request(VECTOR);
    expect(await td.vcpu.run()).toMatchObject({ port: 0x80 });
  });
});

describe('KVM_SIGNAL_MSI', () => {
  const address = (id: number, logical = false) => 0xfee0_0000n | (BigInt(id) << 12n) | (logical ? 4n : 0n);

  it.each([
    ['the id of a vCPU', address(1), 0x40, 1, [[], [0x40], []]],
    ['a logical id', address(0b101, true), 0x40, 2, [[0x40], [], [0x40]]],
    ['all', address(0xff), 0x41, 3, [[0x41], [0x41], [0x41]]],
    ['the lowest priority among all', address(0xff), 0x141, 1, [[0x41], [], []]],
    ['an INIT, which TDs do not know', address(0), 0x500, 0, [[], [], []]],
  ])('reaches %s', (_, to, data, count, posted) => {
    const idle: Guest = function* () {};
    td = scriptedTd([idle, idle, idle]);
    for (const id of [0, 1, 2]) td.kernel(id).apic.write(0x0f, 0x1ffn);
    const [vm] = td.host.vms;
    expect(vm!.signalMsi(to, data)).toBe(count);
    expect([0, 1, 2].map((id) => td!.kernel(id).apic.posted.take())).toEqual(posted);
  });

  it('is refused with flags, and where nobody has the id', () => {
    td = scriptedTd(function* () {});
    const [vm] = td.host.vms;
    expect(() => vm!.signalMsi(address(0), 0x40, 1)).toThrow(expect.objectContaining({ rule: 'kvm.signal-msi' }));
    expect(() => vm!.signalMsi(address(7), 0x40)).toThrow(
      expect.objectContaining({ rule: 'kvm.signal-msi.destination' }),
    );
  });
});
