import { afterEach, describe, expect, it } from 'vitest';
import { KVM_CPUID_FLAG_SIGNIFCANT_INDEX, TDVMCALL_STATUS } from '../../src/kvm/constants.js';
import type { CpuidEntry } from '../../src/kvm/index.js';
import { entry } from './launch.js';
import {
  type Guest,
  hlt,
  out,
  type Scripted,
  type ScriptOptions,
  scriptedTd,
  turns,
  vmcall,
} from './scripted-guest.js';

let td: Scripted | undefined;
afterEach(() => td?.close());

const start = (guests: Guest | Guest[], options?: ScriptOptions): Scripted => {
  td = scriptedTd(guests, options);
  return td;
};
const rdmsr = (index: number) => vmcall(31, { r12: BigInt(index) });
const wrmsr = (index: number, value: bigint) => vmcall(32, { r12: BigInt(index), r13: value });
const INVALID = TDVMCALL_STATUS.INVALID_OPERAND;
const ended = { reason: 'shutdown' };

const X2APIC = { ID: 0x802, VERSION: 0x803, TPR: 0x808, LDR: 0x80d, SPIV: 0x80f, ICR: 0x830, LVTT: 0x832, LVT0: 0x835 };
const TMICT = 0x838;
const SELF_IPI = 0x83f;
const TSC_DEADLINE = 0x6e0;
const ENABLE_APIC = wrmsr(X2APIC.SPIV, 0x1ffn);

describe('TDG.VP.VMCALL<CPUID>', () => {
  const indexed = (leaf: number, index: number, values: Partial<CpuidEntry>) =>
    entry(leaf, { index, flags: KVM_CPUID_FLAG_SIGNIFCANT_INDEX, ...values });
  const cpuid = [
    entry(0, { eax: 0x1f, ebx: 0x756e_6547, edx: 0x4965_6e69, ecx: 0x6c65_746e }),
    indexed(4, 1, { eax: 0x41, ebx: 0x42, ecx: 0x43, edx: 0xffff_ffff }),
    indexed(0x1f, 1, { eax: 5, ebx: 6, ecx: 0x201, edx: 77 }),
    entry(0x4000_0000, { eax: 0x4000_0001, ebx: 0x4b4d_564b }),
    entry(0x4000_0001, { eax: 0x1234 }),
  ];

  it.each([
    ['an entry', 4, 1, [0x41, 0x42, 0x43, 0xffff_ffff]],
    ['zeros where the class has the leaf but nobody gave it', 2, 0, [0, 0, 0, 0]],
    ['the hypervisor’s leaves', 0x4000_0001, 0, [0x1234, 0, 0, 0]],
    ['the last basic leaf where the leaf is out of range, with the sub-leaf asked for', 0x30, 1, [5, 6, 0x201, 77]],
    ['the last basic leaf for a hypervisor’s leaf out of range', 0x4000_0010, 1, [5, 6, 0x201, 77]],
    ['the level and the x2APIC id for an undefined sub-leaf of the topology', 0x1f, 9, [0, 0, 9, 77]],
  ])('is answered from KVM_SET_CPUID2: %s', async (_, leaf, index, values) => {
    const { vcpu } = start(
      function* () {
        const { r10, r12, r13, r14, r15 } = yield vmcall(10, { r12: BigInt(leaf), r13: BigInt(index) });
        expect([r10, r12, r13, r14, r15]).toEqual([0n, ...values.map(BigInt)]);
      },
      { cpuid },
    );
    expect(await vcpu.run()).toEqual(ended);
  });
});

describe('TDG.VP.VMCALL<RDMSR> and <WRMSR>', () => {
  it.each([
    ['IA32_APIC_BASE: x2APIC, bootstrap processor', 0x1b, 0xfee0_0d00n],
    ['IA32_FEATURE_CONTROL: locked', 0x3a, 1n],
    ['IA32_MTRRCAP: eight variable ranges', 0xfe, 0x508n],
    ['IA32_MISC_ENABLE: no BTS, no PEBS', 0x1a0, 0x1800n],
    ['IA32_PAT', 0x277, 0x0007_0406_0007_0406n],
    ['IA32_EFER', 0xc000_0080, 0xd01n],
    ['the version of the local APIC', X2APIC.VERSION, 0x0105_0014n],
    ['LVT0 of the bootstrap processor: ExtINT', X2APIC.LVT0, 0x700n],
    ['the timer’s LVT entry: masked', X2APIC.LVTT, 0x1_0000n],
  ])('%s reads as KVM has it', async (_, index, value) => {
    const { vcpu } = start(function* () {
      const { r10, r11 } = yield rdmsr(index);
      expect([r10, r11]).toEqual([0n, value]);
    });
    expect(await vcpu.run()).toEqual(ended);
  });

  it.each([
    ['IA32_MTRR_DEF_TYPE', 0x2ff, 0xc06n, 0xc07n],
    ['a fixed MTRR', 0x250, 0x0606_0606_0606_0606n, 0x02n],
    ['the base of a variable MTRR', 0x200, 0x8000_0006n, 1n << 52n],
    ['the mask of a variable MTRR', 0x201, 0xf_8000_0800n, 0x1n],
    ['IA32_PAT', 0x277, 0x0007n, 0x0002n],
    ['MISC_FEATURES_ENABLES', 0x140, 1n, 2n],
    ['IA32_MC0_CTL', 0x400, (1n << 64n) - 1n, 5n],
    ['IA32_MC0_STATUS', 0x401, 0n, 1n],
    ['MSR_KVM_POLL_CONTROL', 0x4b56_4d05, 0n, 2n],
  ])('%s keeps a value that KVM takes and refuses another', async (_, index, good, bad) => {
    const { vcpu } = start(function* () {
      expect((yield wrmsr(index, good)).r10).toBe(0n);
      expect((yield wrmsr(index, bad)).r10).toBe(INVALID);
      expect((yield rdmsr(index)).r11).toBe(good);
    });
    expect(await vcpu.run()).toEqual(ended);
  });

  it('IA32_MISC_ENABLE: read-only bits are refused, the performance monitoring bit is ignored', async () => {
    const { vcpu } = start(function* () {
      expect((yield wrmsr(0x1a0, 0n)).r10).toBe(INVALID);
      expect((yield wrmsr(0x1a0, 0x1881n)).r10).toBe(0n);
      expect((yield rdmsr(0x1a0)).r11).toBe(0x1801n);
    });
    expect(await vcpu.run()).toEqual(ended);
  });

  it('MISC_FEATURES_ENABLES: CPUID faults as long as user space says in PLATFORM_INFO that they are there', async () => {
    const { vcpu, kernel } = start(function* () {
      expect((yield wrmsr(0x140, 1n)).r10).toBe(INVALID);
      expect((yield wrmsr(0x140, 0n)).r10).toBe(0n);
    });
    expect(kernel(0).msrs.write(0xce, 0n, 'host')).toBe(true);
    expect(await vcpu.run()).toEqual(ended);
  });

  it.each([
    ['one that KVM does not emulate for TDs', 0x10, 'both'],
    ['a register of the x2APIC that the processor virtualises', X2APIC.TPR, 'both'],
    ['IA32_EFER, to write', 0xc000_0080, 'write'],
    ['IA32_APIC_BASE, to write', 0x1b, 'write'],
    ['IA32_MTRRCAP, to write', 0xfe, 'write'],
    ['the x2APIC id, to write', X2APIC.ID, 'write'],
    ['self-IPI, to read', SELF_IPI, 'read'],
    ['IA32_MC0_CTL2, without CMCI', 0x280, 'both'],
  ])('refuses %s with TDVMCALL_STATUS_INVALID_OPERAND', async (_, index, which) => {
    const { vcpu } = start(function* () {
      if (which !== 'write') expect((yield rdmsr(index)).r10).toBe(INVALID);
      if (which !== 'read') expect((yield wrmsr(index, 0n)).r10).toBe(INVALID);
    });
    expect(await vcpu.run()).toEqual(ended);
  });

  it('asks user space for those it refuses, once KVM_CAP_X86_USER_SPACE_MSR says so', async () => {
    const { vcpu, vm } = start(function* () {
      expect(yield rdmsr(0x10)).toMatchObject({ r10: 0n, r11: 77n });
      expect((yield wrmsr(0x10, 5n)).r10).toBe(0n);
      expect((yield rdmsr(0x10)).r10).toBe(INVALID);
      expect((yield wrmsr(0x10, 5n)).r10).toBe(INVALID);
    });
    vm.enableCap(188, [1n]);
    const read = { reason: 'x86-rdmsr', index: 0x10, why: 1 };
    const write = { reason: 'x86-wrmsr', index: 0x10, why: 1, data: 5n };
    expect(await vcpu.run()).toEqual(read);
    expect(await vcpu.run({ reply: { msr: { error: false, data: 77n } } })).toEqual(write);
    expect(await vcpu.run({ reply: { msr: { error: false } } })).toEqual(read);
    expect(await vcpu.run()).toEqual(write);
    await expect(vcpu.run({ reply: { ret: 0n } })).rejects.toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' });
    expect(await vcpu.run({ reply: { msr: { error: true } } })).toEqual(ended);
    await expect(vcpu.run({ reply: { msr: { error: false } } })).rejects.toMatchObject({
      message: 'reply.msr: the last exit was no access to an MSR',
    });
  });

  it('refuses what a filter denies, with or without asking user space; registers of the x2APIC are not filtered', async () => {
    const { vcpu, vm } = start(function* () {
      expect((yield rdmsr(0x277)).r10).toBe(INVALID);
      expect((yield wrmsr(0x277, 6n)).r10).toBe(0n);
      expect((yield rdmsr(0xfe)).r10).toBe(INVALID);
      expect((yield rdmsr(X2APIC.ID)).r11).toBe(0n);
      yield out(0x80, 0);
      expect(yield rdmsr(0x277)).toMatchObject({ r10: 0n, r11: 1n });
    });
    vm.setMsrFilter({
      denyOthers: true,
      ranges: [
        { first: 0x277, last: 0x277, read: true, write: false, allow: false },
        { first: 0x270, last: 0x27f, read: true, write: true, allow: true },
      ],
    });
    expect(await vcpu.run()).toMatchObject({ reason: 'io' });
    vm.enableCap(188, [4n]);
    expect(await vcpu.run()).toEqual({ reason: 'x86-rdmsr', index: 0x277, why: 4 });
    expect(await vcpu.run({ reply: { msr: { error: false, data: 1n } } })).toEqual(ended);
    expect(() => vm.setMsrFilter({ denyOthers: true, ranges: [] })).toThrow(
      expect.objectContaining({ code: 'EINVAL', rule: 'kvm.msr-filter' }),
    );
  });

  it('the x2APIC ids of a vCPU come from its vcpu_id', async () => {
    const guest: Guest = function* () {
      expect((yield rdmsr(X2APIC.ID)).r11).toBe(1n);
      expect((yield rdmsr(X2APIC.LDR)).r11).toBe(2n);
      expect((yield rdmsr(0x1b)).r11).toBe(0xfee0_0c00n);
    };
    const { vcpus } = start([guest, guest]);
    expect(await vcpus[1]!.run()).toEqual(ended);
  });

  it('the LVT is masked while the APIC is disabled, and the timer takes the modes that CPUID gives it', async () => {
    const deadline = 0x4_0020n;
    const guest: Guest = function* () {
      yield wrmsr(X2APIC.LVTT, 0x20n);
      expect((yield rdmsr(X2APIC.LVTT)).r11).toBe(0x1_0020n);
      yield ENABLE_APIC;
      yield wrmsr(X2APIC.LVTT, deadline);
      expect((yield rdmsr(X2APIC.LVTT)).r11).toBe(0x20n);
      yield wrmsr(TMICT, 1000n);
      expect((yield rdmsr(TMICT)).r11).toBe(1000n);
      yield wrmsr(TSC_DEADLINE, 5n);
      expect((yield rdmsr(TSC_DEADLINE)).r11).toBe(0n);
      expect((yield wrmsr(0x828, 1n)).r10).toBe(INVALID);
      expect((yield wrmsr(X2APIC.LVTT, 1n << 32n)).r10).toBe(INVALID);
    };
    expect(await start(guest).vcpu.run()).toEqual(ended);
    td!.close();
    const withDeadline: Guest = function* () {
      yield ENABLE_APIC;
      yield wrmsr(TMICT, 1000n);
      yield wrmsr(X2APIC.LVTT, deadline);
      expect((yield rdmsr(X2APIC.LVTT)).r11).toBe(deadline);
      expect((yield rdmsr(TMICT)).r11).toBe(0n);
      yield wrmsr(TSC_DEADLINE, 1n << 60n);
      expect((yield rdmsr(TSC_DEADLINE)).r11).toBe(1n << 60n);
    };
    const cpuid = [entry(1, { ecx: (1 << 24) | (1 << 21) })];
    const { vcpu } = start(withDeadline, { cpuid });
    expect(await vcpu.run()).toEqual(ended);
  });
});

describe('TDG.VP.VMCALL<HLT>', () => {
  const sleeper = (port: number): Guest =>
    function* () {
      yield ENABLE_APIC;
      yield hlt();
      yield out(port, 0);
    };
  const settled = async (promise: Promise<unknown>) =>
    Promise.race([promise.then(() => true), turns().then(() => false)]);

  it('waits in KVM until another vCPU sends an interrupt', async () => {
    const { vcpus } = start([
      sleeper(0x80),
      function* () {
        yield wrmsr(X2APIC.ICR, 0x40n);
        yield out(0x81, 0);
      },
    ]);
    const halted = vcpus[0]!.run();
    expect(await settled(halted)).toBe(false);
    expect(await vcpus[1]!.run()).toMatchObject({ port: 0x81 });
    expect(await halted).toMatchObject({ port: 0x80 });
  });

  it.each([
    ['the physical id of one', 0x0000_0000_0000_0040n, [true, false]],
    ['one whose APIC is disabled', 0x0000_0001_0000_0040n, [false, false]],
    ['all', 0xffff_ffff_0000_0040n, [true, false]],
    ['two bits of a logical id', 0x0000_0003_0000_0c00n, [true, true]],
    ['all but self, with an NMI', 0x000c_0400n, [true, true]],
    ['an INIT for all: TDs know none', 0xffff_ffff_0000_0500n, [false, false]],
  ])('ends for those vCPUs that an ICR write addresses: %s', async (_, icr, woken) => {
    const halts: Guest = function* () {
      yield hlt();
      yield out(0x80, 0);
    };
    const sender: Guest = function* () {
      yield wrmsr(X2APIC.ICR, icr);
      yield out(0x81, 0);
    };
    const { vcpus, kernel } = start([halts, halts, sender]);
    kernel(0).apic.write(0x0f, 0x1ffn);
    const runs = vcpus.slice(0, 2).map((vcpu) => vcpu.run());
    await turns();
    expect(await vcpus[2]!.run()).toMatchObject({ port: 0x81 });
    expect(await Promise.all(runs.map(settled))).toEqual(woken);
    td!.close();
    await Promise.allSettled(runs);
  });

  it('does not wait when an interrupt is there already', async () => {
    const { vcpu } = start(function* () {
      yield hlt();
      yield out(0x80, 0);
    });
    td!.kernel(0).apic.write(0x0f, 0x1ffn);
    const run = vcpu.run();
    expect(await settled(run)).toBe(false);
    td!.kernel(0).apic.write(0x3f, 0x40n);
    expect(await run).toMatchObject({ port: 0x80 });
  });

  it('with interrupts blocked (R12) waits on when one comes, but not for an NMI', async () => {
    const { vcpu } = start(function* () {
      yield ENABLE_APIC;
      yield hlt(1n);
      yield out(0x80, 0);
    });
    const run = vcpu.run();
    await turns();
    td!.kernel(0).apic.write(0x3f, 0x40n);
    expect(await settled(run)).toBe(false);
    td!.kernel(0).apic.accept(0x400, 0);
    expect(await run).toMatchObject({ port: 0x80 });
  });

  it('ends with KVM_HC_KICK_CPU, also if the kick comes first', async () => {
    const kick = (id: bigint) => ({ status: 77n, r10: 5n, r12: id });
    const { vcpu } = start(function* () {
      yield kick(0n);
      yield hlt();
      yield out(0x80, 0);
    });
    expect(await vcpu.run()).toMatchObject({ port: 0x80 });
  });
});
