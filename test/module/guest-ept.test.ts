import { describe, expect, it } from 'vitest';
import type { Step } from './fake-engine.js';
import { type GuestOptions, LEAVE, RunningTd, words } from './guest-td.js';
import { TDH } from './host.js';

const SHARED = 2 ** 47;
const SEPT_VE_DISABLE = 0x1000_0000;

const touch = (gpa: number, access: 'read' | 'write' | 'execute' = 'write'): Step => ({
  kind: 'ept-violation',
  gpa,
  gla: 0x7000_0123n,
  access,
  length: 3,
});

const withPending = (options: GuestOptions, ...steps: Step[]): RunningTd => {
  const td = new RunningTd(options, steps);
  td.host.must(TDH.MEM_PAGE_AUG, { rcx: 0x1000n, rdx: td.tdr, r8: td.host.fresh() });
  return td;
};

describe('An access to a private page', () => {
  it.each([
    ['read', 1n],
    ['write', 2n],
    ['execute', 4n],
  ] as const)('that the TD does not have leaves it with exit reason 48 (%s)', async (access, qualification) => {
    const td = new RunningTd({}, [touch(0x1234, access)]);
    expect(await td.enter()).toMatchObject({ status: 48n, rcx: qualification, rdx: 0n, r8: 0x1000n, r9: 0n, r10: 0n });
    expect(td.cpu.rip).toBe(0xffff_fff0n);
  });

  it('that is blocked leaves it as well', async () => {
    const td = new RunningTd({ pages: [0x1000n] }, [touch(0x1000)]);
    td.host.must(TDH.MEM_RANGE_BLOCK, { rcx: 0x1000n, rdx: td.tdr });
    expect(await td.enter()).toMatchObject({ status: 48n, rdx: 0n, r8: 0x1000n });
  });

  it('that is pending gives a #VE with linear and physical address', async () => {
    const td = withPending({}, touch(0x1234), LEAVE);
    await td.enter();
    expect(td.cpu.injected).toEqual([{ vector: 20 }]);
    expect(td.host.module.tds.get(Number(td.tdr))?.vcpus[0]?.veInfo).toEqual({
      exitReason: 48,
      qualification: 0x182n,
      gla: 0x7000_0123n,
      gpa: 0x1234n,
      instructionLength: 3,
      instructionInformation: 0,
      category: 1,
    });
  });

  it('that is pending leaves the TD where ATTRIBUTES.SEPT_VE_DISABLE is set, and says so (type 6)', async () => {
    const td = withPending({ attributes: SEPT_VE_DISABLE }, touch(0x1234));
    expect(await td.enter()).toMatchObject({ status: 48n, rcx: 2n, rdx: 6n, r8: 0x1000n });
  });

  it('that another VCPU got meanwhile is made again', async () => {
    const td = new RunningTd({ pages: [0x1000n] }, [touch(0x1000), LEAVE]);
    expect(words((await td.enter()).status)).toContain('TDX_NON_RECOVERABLE_VCPU');
    expect(td.cpu.injected).toEqual([]);
  });

  it('beyond the GPA width is a #PF with a reserved bit', async () => {
    const td = new RunningTd({}, [touch(2 ** 48), LEAVE]);
    await td.enter();
    expect(td.cpu.injected).toEqual([{ vector: 14, errorCode: 0b1011, cr2: 0x7000_0123n }]);
  });
});

describe('A reserved bit in a guest-physical address', () => {
  it.each([
    [14, [{ vector: 8, errorCode: 0, cr2: 0x7000_0123n }]],
    [20, [{ vector: 8, errorCode: 0, cr2: 0x7000_0123n }]],
    [6, [{ vector: 14, errorCode: 0b1011, cr2: 0x7000_0123n }]],
  ])('while exception %i is delivered is what a processor makes of two', async (vector, injected) => {
    const td = new RunningTd({}, [{ ...(touch(2 ** 48) as object), delivering: { vector } } as Step, LEAVE]);
    await td.enter();
    expect(td.cpu.injected).toEqual(injected);
  });

  it('is a triple fault while a #DF is delivered', async () => {
    const td = new RunningTd({}, [{ ...(touch(2 ** 48) as object), delivering: { vector: 8 } } as Step]);
    expect(words((await td.enter()).status)).toBe('TDX_NON_RECOVERABLE_VCPU, details 0x2');
  });

  it('is a #VE with CONFIG_FLAGS.MAXGPA_VIRT', async () => {
    const td = new RunningTd({ version: '1.5.25', flags: 16 }, [touch(2 ** 48), LEAVE]);
    await td.enter();
    expect(td.cpu.injected).toEqual([{ vector: 20 }]);
  });
});

describe('An access to shared memory that does not exist', () => {
  it('gives a #VE with the SHARED bit in the address', async () => {
    const td = new RunningTd({}, [touch(SHARED + 0xfee0_0000), LEAVE]);
    await td.enter();
    expect(td.cpu.injected).toEqual([{ vector: 20 }]);
    expect(td.trace[0]).toMatchObject({ kind: 'exception', exitReason: 48, rule: 'module.ept.shared-ve' });
  });

  it('leaves the TD while a #VE is not read yet: the processor delivers none then', async () => {
    const td = new RunningTd({}, [touch(SHARED), touch(SHARED + 0x5123, 'read')]);
    expect(await td.enter()).toMatchObject({ status: 48n, rcx: 1n, r8: BigInt(SHARED + 0x5000) });
  });

  it('leaves the TD while an exception is being delivered, which comes again', async () => {
    const event = { ...(touch(SHARED) as object), delivering: { vector: 14, errorCode: 2 } } as Step;
    const td = new RunningTd({}, [event]);
    expect((await td.enter()).status).toBe(48n);
    expect(td.cpu.injected).toEqual([{ vector: 14, errorCode: 2 }]);
  });
});

describe('A #VE before the last one was read', () => {
  it('is a #DF', async () => {
    const td = withPending({}, touch(0x1000), touch(0x1000), LEAVE);
    await td.enter();
    expect(td.cpu.injected).toEqual([{ vector: 20 }, { vector: 8, errorCode: 0 }]);
    expect(td.trace[1]).toMatchObject({ rule: 'module.ve.one-at-a-time' });
  });
});
