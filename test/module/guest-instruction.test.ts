import { describe, expect, it } from 'vitest';
import type { TrappedInstruction } from '../../src/mock/guest/engine.js';
import type { Step } from './fake-engine.js';
import { type GuestOptions, get, LEAVE, type Registers, RunningTd, set } from './guest-td.js';

/** Sets registers, and executes an instruction of 2 bytes. */
const execute =
  (name: TrappedInstruction, registers: Registers = {}, mode = {}): Step =>
  (cpu) => {
    set(cpu, registers);
    Object.assign(cpu.mode, mode);
    return { kind: 'instruction', name, length: 2 };
  };

async function run(options: GuestOptions, ...steps: Step[]): Promise<RunningTd> {
  const td = new RunningTd(options, [...steps, LEAVE]);
  await td.enter();
  return td;
}

const VE = [{ vector: 20 }];
const GP = [{ vector: 13, errorCode: 0 }];
const UD = [{ vector: 6 }];
const START = 0xffff_fff0n;

describe('An instruction that the host would have to emulate', () => {
  it.each([
    ['hlt', 12],
    ['invd', 13],
    ['vmcall', 18],
    ['wbinvd', 54],
  ] as const)('%s is a #VE with exit reason %i', async (name, exitReason) => {
    const td = await run({}, execute(name));
    expect(td.cpu.injected).toEqual(VE);
    expect(td.cpu.rip).toBe(START);
    expect(td.trace[0]).toMatchObject({ exitReason, rule: 'module.instruction.ve' });
  });

  it.each([
    [{ port: 0x3f8, size: 1, write: true, string: false, rep: false, immediate: false }, 0x3f8_0000n],
    [{ port: 0x71, size: 1, write: false, string: false, rep: false, immediate: true }, 0x71_0048n],
    [{ port: 0x5658, size: 4, write: false, string: true, rep: true, immediate: false }, 0x5658_003bn],
  ] as const)('port I/O %j is a #VE with a qualification', async (io, qualification) => {
    const td = await run({}, { kind: 'io', length: 2, ...io });
    expect(td.cpu.injected).toEqual(VE);
    expect(td.host.module.tds.get(Number(td.tdr))?.vcpus[0]?.veInfo).toMatchObject({ exitReason: 30, qualification });
  });

  it('is a #GP above privilege level 0, as on every processor', async () => {
    for (const name of ['hlt', 'invd', 'wbinvd', 'rdmsr', 'wrmsr', 'xsetbv'] as const)
      expect((await run({}, execute(name, {}, { cpl: 3 }))).cpu.injected).toEqual(GP);
  });
});

describe('MONITOR, MWAIT and RDPMC', () => {
  it.each([
    ['1.5.01', VE],
    ['1.5.05', UD],
    ['1.5.06', UD],
  ])('MONITOR on %s without CPUID(1).ECX[3]', async (version, injected) => {
    expect((await run({ version }, execute('monitor'))).cpu.injected).toEqual(injected);
    expect((await run({ version }, execute('mwait'))).cpu.injected).toEqual(injected);
  });

  it('RDPMC is a #GP without ATTRIBUTES.PERFMON', async () => {
    expect((await run({}, execute('rdpmc'))).cpu.injected).toEqual(GP);
  });
});

describe('CPUID', () => {
  it('gives the values of the TD', async () => {
    const td = await run({}, execute('cpuid', { rax: 0xffff_ffff_0000_0021n, rcx: 0n }));
    expect(get(td.cpu, 'rax')).toBe(0n);
    expect(get(td.cpu, 'rbx')).toBe(0x6574_6e49n);
    expect(td.cpu.rip).toBe(START + 2n);
  });

  it('is a #VE for leaves of the host', async () => {
    const td = await run({}, execute('cpuid', { rax: 0x4000_0000n }));
    expect(td.cpu.injected).toEqual(VE);
    expect(td.trace[0]).toMatchObject({ exitReason: 10, rule: 'module.cpuid.ve' });
  });
});

describe('XSETBV', () => {
  it('writes XCR0 as far as XFAM allows', async () => {
    const td = await run({}, execute('xsetbv', { rcx: 0n, rdx: 0n, rax: 3n }));
    expect([td.cpu.mode.xcr0, td.cpu.rip]).toEqual([3n, START + 2n]);
    expect((await run({}, execute('xsetbv', { rcx: 0n, rdx: 0n, rax: 7n }))).cpu.injected).toEqual(GP);
  });
});

describe('RDMSR and WRMSR', () => {
  const read = (index: number): Step => execute('rdmsr', { rcx: BigInt(index) });
  const write = (index: number, value: bigint): Step =>
    execute('wrmsr', { rcx: BigInt(index), rdx: value >> 32n, rax: value & 0xffff_ffffn });

  it.each([
    ['IA32_APIC_BASE (no row: the host decides)', 0x1b, VE],
    ['IA32_MTRRCAP', 0xfe, VE],
    ['IA32_SGXLEPUBKEYHASH0', 0x8c, GP],
    ['IA32_PMC0 without PERFMON', 0xc1, GP],
    ['IA32_U_CET without CET', 0x6a0, GP],
    ['IA32_PKRS without PKS', 0x6e1, GP],
    ['IA32_TSC_DEADLINE with the feature or not: the host, or nobody', 0x6e0, GP],
    ['an MSR outside the bitmaps', 0x4b56_4d00, VE],
  ])('RDMSR of %s', async (_, index, injected) => {
    const td = await run({}, read(index));
    expect(td.cpu.injected).toEqual(injected);
  });

  it.each([
    ['IA32_XAPIC_DISABLE_STATUS', 0xbd, 1n],
    ['IA32_PAT', 0x277, 0x0007_0406_0007_0406n],
    ['IA32_EFER', 0xc000_0080, 0x901n],
    ['IA32_DEBUGCTL', 0x1d9, 0n],
    ['IA32_PERF_CAPABILITIES without PERFMON', 0x345, 0n],
    ['IA32_XSS', 0xda0, 0n],
  ])('RDMSR of %s has a value', async (_, index, value) => {
    const td = await run({}, read(index));
    expect((get(td.cpu, 'rdx') << 32n) | get(td.cpu, 'rax')).toBe(value);
  });

  it('keeps what the guest writes where the processor would', async () => {
    const td = await run({}, write(0xc000_0103, 0x1_0000_0002n), read(0xc000_0103));
    expect([get(td.cpu, 'rdx'), get(td.cpu, 'rax')]).toEqual([1n, 2n]);
  });

  it('lets a guest change SCE of IA32_EFER and nothing else', async () => {
    expect((await run({}, write(0xc000_0080, 0x900n))).cpu.mode.efer).toBe(0x900n);
    const td = await run({}, write(0xc000_0080, 0x101n));
    expect([td.cpu.injected, td.cpu.mode.efer]).toEqual([VE, 0x901n]);
  });

  it.each([
    ['reserved bits', '1.5.06', 1n << 16n, GP],
    ['reserved bits', '1.5.06', 1n << 3n, GP],
    ['branch traces without a buffer', '1.5.06', 1n << 6n, VE],
    ['FREEZE_WHILE_SMM without PERFMON', '1.5.05', 1n << 14n, GP],
    ['FREEZE_WHILE_SMM without PERFMON', '1.5.01', 1n << 14n, []],
    ['LBR', '1.5.06', 1n, []],
  ])('WRMSR of IA32_DEBUGCTL with %s on %s', async (_, version, value, injected) => {
    expect((await run({ version }, write(0x1d9, value))).cpu.injected).toEqual(injected);
  });

  it('refuses IA32_XSS beyond XFAM, and writes to what is read-only', async () => {
    expect((await run({}, write(0xda0, 0x800n))).cpu.injected).toEqual(GP);
    expect((await run({}, write(0x480, 0n))).cpu.injected).toEqual(GP);
    expect((await run({}, write(0x10, 0n))).cpu.injected).toEqual(VE);
  });

  it('gives the x2APIC id to guests that see their topology', async () => {
    expect((await run({}, read(0x802))).cpu.injected).toEqual(VE);
    expect((await run({ version: '1.5.01' }, read(0x802))).cpu.injected).toEqual(VE);
  });

  describe('of modules that reduce #VEs', () => {
    const version = '1.5.25';
    const REDUCE_VE: Step = (cpu) => {
      set(cpu, { rax: 8n, rcx: 0n, rdx: 0x9110_0003_0000_0017n, r8: 8n, r9: 8n });
      return { kind: 'tdcall', length: 4 };
    };

    it.each([
      ['IA32_APIC_BASE, always the host', 0x1b, VE, VE],
      ['an MSR without a row', 0x1c, VE, GP],
      ['IA32_MTRRCAP', 0xfe, VE, GP],
      ['IA32_MC0_CTL', 0x400, VE, GP],
      ['IA32_FEATURE_CONTROL', 0x3a, VE, []],
      ['IA32_BIOS_SIGN_ID', 0x8b, VE, []],
      ['an MSR outside the bitmaps', 0x4b56_4d00, VE, VE],
    ])('RDMSR of %s, without and with TD_CTLS.REDUCE_VE', async (_, index, without, reduced) => {
      expect((await run({ version, vcpus: 1 }, read(index))).cpu.injected).toEqual(without);
      const td = new RunningTd({ version, vcpus: 1, x2apicIds: true }, [REDUCE_VE, read(index), LEAVE]);
      await td.enter();
      expect(td.cpu.injected).toEqual(reduced);
    });

    it('WRMSR of IA32_MISC_ENABLE is the module’s, and #GP for what it does not have', async () => {
      const writes = async (value: bigint) => {
        const td = new RunningTd({ version, x2apicIds: true }, [REDUCE_VE, write(0x1a0, value), LEAVE]);
        await td.enter();
        return td.cpu.injected;
      };
      expect(await writes(1n)).toEqual([]);
      expect(await writes(2n)).toEqual(GP);
      expect(await writes(1n << 16n)).toEqual(GP);
      expect(await writes(1n << 22n)).toEqual(VE);
    });
  });
});
