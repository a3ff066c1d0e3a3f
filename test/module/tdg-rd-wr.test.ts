import { describe, expect, it } from 'vitest';
import type { Step } from './fake-engine.js';
import { type GuestOptions, get, LEAVE, type Registers, RunningTd, result, set, tdcall } from './guest-td.js';

const [VM_RD, VM_WR, VP_RD, VP_WR] = [7, 8, 9, 10];
const V1 = 1 << 16;
const NONE = (1n << 64n) - 1n;
const ATTRIBUTES = 0x1110_0003_0000_0000n;
const RTMR = 0x1310_0003_0000_0040n;
const OP_STATE = 0x9010_0002_0000_0004n;
const TD_CTLS = 0x9110_0003_0000_0017n;
const NOTIFY_ENABLES = 0x9110_0003_0000_0010n;
const VCPU_INDEX = 0xa020_0002_0000_0002n;
const CPUID_USER_VE = 0xa020_0000_0000_0008n;
const TSC_DEADLINE = 0xa020_0003_0000_0058n;
const CPUID_CONTROL = 0xa120_0000_0000_0000n;

/** All ids that a walk with `leaf` finds, RDX taking the next one each time. */
async function walk(leaf: number, options: GuestOptions = {}): Promise<string[]> {
  const ids: bigint[] = [];
  const step: Step = (cpu) => {
    const rdx = ids.length === 0 ? NONE : get(cpu, 'rdx');
    ids.push(rdx);
    set(cpu, { rax: BigInt(leaf), rcx: 0n, rdx });
    return { kind: 'tdcall', length: 4 };
  };
  const again: Step = (cpu) => {
    if (get(cpu, 'rdx') === NONE) return { kind: 'triple-fault' };
    cpu.script.push(again);
    return (step as (cpu: unknown) => { kind: 'tdcall'; length: number })(cpu);
  };
  const td = new RunningTd(options, [step, again]);
  await td.enter();
  return ids.slice(1).map((id) => id.toString(16));
}

const rd = (leaf: number, rdx: bigint, more: Registers = {}): Step => tdcall(leaf, { rcx: 0n, rdx, ...more });
const wr = (leaf: number, rdx: bigint, r8: bigint, r9 = NONE): Step => tdcall(leaf, { rcx: 0n, rdx, r8, r9 });

describe('TDG.VM.RD', () => {
  it('reads fields of the TD that a guest may read', async () => {
    const attributes = 0x1000_0000;
    expect(await result({ attributes }, rd(VM_RD, ATTRIBUTES), 'r8', 'rdx')).toEqual({
      status: 'TDX_SUCCESS',
      r8: BigInt(attributes),
      rdx: ATTRIBUTES,
    });
  });

  it('names the next field with version 1, element by element', async () => {
    expect(await result({}, rd(VM_RD | V1, RTMR), 'rdx')).toMatchObject({ rdx: RTMR + 1n });
    expect(await result({}, rd(VM_RD | V1, RTMR + 23n), 'rdx')).toMatchObject({ rdx: 0x9810_0003_0000_0040n });
    expect(await result({}, rd(VM_RD | V1, 0x9910_0003_0000_008fn), 'rdx')).toMatchObject({ rdx: NONE });
  });

  it('names the first field when asked for -1', async () => {
    expect(await result({}, rd(VM_RD | V1, NONE), 'rdx', 'r8')).toEqual({
      status: 'TDX_METADATA_FIRST_FIELD_ID_IN_CONTEXT',
      rule: 'module.metadata.first',
      rdx: 0x8010_0003_0000_0020n,
      r8: 0n,
    });
  });

  it('can be walked from the first field to the last', async () => {
    const ids = await walk(VM_RD | V1);
    expect(ids).toHaveLength(90);
    expect(ids).toContain('9110000000000019');
    expect(await walk(VM_RD | V1, { version: '1.5.01' })).not.toContain('9110000000000019');
  });

  it.each([
    ['a field that is not for guests', OP_STATE, 'TDX_METADATA_FIELD_NOT_READABLE', 'module.metadata.guest-readable'],
    ['a CPUID value', 0x9410_0003_0000_0000n, 'TDX_METADATA_FIELD_NOT_READABLE', 'module.metadata.guest-readable'],
    ['what is no field', 0x1110_0003_0000_0fffn, 'TDX_METADATA_FIELD_ID_INCORRECT, operand RAX', 'module.metadata.id'],
    ['a sequence', ATTRIBUTES | (1n << 38n), 'TDX_METADATA_FIELD_ID_INCORRECT, operand RAX', 'module.metadata.id'],
  ])('refuses %s', async (_, id, status, rule) => {
    expect(await result({}, rd(VM_RD | V1, id), 'rdx', 'r8')).toEqual({ status, rule, rdx: NONE, r8: 0n });
  });

  it('is about this TD only, and has versions 0 and 1', async () => {
    expect((await result({}, tdcall(VM_RD, { rcx: 1n, rdx: ATTRIBUTES }))).rule).toBe('module.vm-rd.vm');
    expect((await result({}, rd(VM_RD | (2 << 16), ATTRIBUTES))).rule).toBe('module.tdcall.version');
  });
});

describe('TDG.VM.WR', () => {
  it('writes TD_CTLS and gives the old value', async () => {
    expect(await result({}, [wr(VM_WR, TD_CTLS, 4n, 4n), wr(VM_WR, TD_CTLS, 0n, 4n)], 'r8')).toEqual({
      status: 'TDX_SUCCESS',
      r8: 4n,
    });
    expect(await result({}, [wr(VM_WR, TD_CTLS, 4n, 4n), rd(VM_RD, TD_CTLS)], 'r8')).toMatchObject({ r8: 4n });
  });

  it('writes NOTIFY_ENABLES', async () => {
    expect(await result({}, [wr(VM_WR, NOTIFY_ENABLES, 1n, 1n), rd(VM_RD, NOTIFY_ENABLES)], 'r8')).toMatchObject({
      r8: 1n,
    });
    expect((await result({}, wr(VM_WR, NOTIFY_ENABLES, 2n))).rule).toBe('module.vm-wr.forbidden-bits');
    expect((await result({}, wr(VM_WR, NOTIFY_ENABLES, 2n, 2n))).rule).toBe('module.vm-wr.writable');
  });

  it('starts with what ATTRIBUTES.SEPT_VE_DISABLE chose', async () => {
    expect(await result({ attributes: 0x1000_0000 }, rd(VM_RD, TD_CTLS), 'r8')).toMatchObject({ r8: 1n });
  });

  it('refuses with the rule that a write breaks', async () => {
    expect(await result({}, wr(VM_WR, ATTRIBUTES, 1n), 'r8')).toEqual({
      status: 'TDX_METADATA_FIELD_NOT_WRITABLE',
      rule: 'module.vm-wr.writable',
      r8: 0n,
    });
  });

  it.each([
    ['leaf 0, which the TD has', 0x1fen, 'module.vm-wr.writable'],
    ['leaf 6, which is a #VE', (6n << 9n) | 0x1fen, 'module.metadata.cpuid-readable'],
    ['a leaf that the module does not know', (0x2n << 9n) | 0x1fen, 'module.vm-wr.field-id'],
  ])('does not write CPUID values: %s', async (_, code, rule) => {
    expect((await result({ version: '1.5.05' }, wr(VM_WR, 0x9410_0003_0000_0000n | code, 0n))).rule).toBe(rule);
  });
});

describe('TDG.VP.RD and TDG.VP.WR', () => {
  it('read fields of this VCPU, and name the next one', async () => {
    expect(await result({}, rd(VP_RD, VCPU_INDEX), 'r8', 'rdx')).toEqual({
      status: 'TDX_SUCCESS',
      r8: 0n,
      rdx: 0xa020_0000_0000_0007n,
    });
    expect(await walk(VP_RD)).toHaveLength(1 + 2 + 8 + 128);
  });

  it('let a guest choose a #VE for one CPUID leaf: element 0 is leaf 1', async () => {
    const cpuid: Step = (cpu) => {
      set(cpu, { rax: 1n, rcx: 0n });
      return { kind: 'instruction', name: 'cpuid', length: 2 };
    };
    const td = new RunningTd({}, [wr(VP_WR, CPUID_CONTROL, 1n, 3n), cpuid, LEAVE]);
    await td.enter();
    expect(td.cpu.injected).toEqual([{ vector: 20 }]);
  });

  it('give the old value, and change the bits under the mask', async () => {
    const steps = [wr(VP_WR, CPUID_USER_VE, 3n), wr(VP_WR, CPUID_USER_VE, 0n, 1n)];
    expect(await result({}, [...steps], 'r8')).toMatchObject({ r8: 3n });
    expect(await result({}, [...steps, rd(VP_RD, CPUID_USER_VE)], 'r8')).toMatchObject({ r8: 2n });
  });

  it('know no deadline at first, and no VM but L1', async () => {
    expect(await result({}, rd(VP_RD, TSC_DEADLINE), 'r8')).toMatchObject({ r8: NONE });
    expect(await result({}, rd(VP_RD, TSC_DEADLINE + 1n), 'r8')).toMatchObject({ r8: 0n });
  });

  it.each([
    ['a field that is not for guests', rd(VP_RD, 0x9110_0003_0000_0020n), 'module.metadata.guest-readable'],
    ['a VMCS field', rd(VP_RD, 0x0020_0003_0000_681en), 'module.metadata.guest-readable'],
    ['what is no field', rd(VP_RD, 0xa020_0003_0000_0fffn), 'module.metadata.id'],
    ['another VCPU', tdcall(VP_RD, { rcx: 1n, rdx: VCPU_INDEX }), 'module.vp-rd.rcx'],
    ['a write to what is read-only', wr(VP_WR, VCPU_INDEX, 1n), 'module.metadata.guest-writable'],
    ['a write of reserved bits', wr(VP_WR, CPUID_CONTROL, 4n, 5n), 'module.metadata.value'],
    ['a value that is larger than its field', wr(VP_WR, CPUID_USER_VE, 0x100n), 'module.metadata.value'],
  ])('refuse %s', async (_, step, rule) => {
    expect((await result({}, step)).rule).toBe(rule);
  });
});
