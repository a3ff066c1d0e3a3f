import { describe, expect, it } from 'vitest';
import { RunningTd, result, tdcall } from './guest-td.js';
import { TDH } from './host.js';

const [ATTR_RD, ATTR_WR, ENTER, INVEPT, INVVPID] = [23, 24, 25, 26, 27];
const pages = [0x1000n];

describe('A TD without L2 VMs', () => {
  it('has none to enter or to flush', async () => {
    expect((await result({}, tdcall(ENTER, { rcx: 1n << 52n, rdx: 0x1000n }))).rule).toBe('module.l2.vm');
    expect((await result({}, tdcall(ENTER, { rcx: 1n << 52n, rdx: 0x1001n }))).rule).toBe('module.operand.alignment');
    expect((await result({}, tdcall(INVEPT, { rcx: 2n }))).rule).toBe('module.l2.vm');
    expect((await result({}, tdcall(INVEPT, { rcx: 0n }))).status).toBe('TDX_SUCCESS');
    expect((await result({}, tdcall(INVVPID, { rcx: 1n << 52n }))).rule).toBe('module.l2.vm');
  });

  it('reads where a page starts, its level, and no attributes', async () => {
    expect(await result({ pages }, tdcall(ATTR_RD, { rcx: 0x1234n }), 'rcx', 'rdx')).toEqual({
      status: 'TDX_SUCCESS',
      rcx: 0x1000n,
      rdx: 0n,
    });
    expect(await result({ pages }, tdcall(ATTR_RD, { rcx: 1n << 47n }), 'rcx')).toMatchObject({
      status: 'TDX_OPERAND_INVALID, operand RCX',
      rcx: 0n,
    });
  });

  it('reads that a page is pending', async () => {
    const td = new RunningTd({}, [tdcall(ATTR_RD, { rcx: 0x1000n }), { kind: 'triple-fault' }]);
    td.host.must(TDH.MEM_PAGE_AUG, { rcx: 0x1000n, rdx: td.tdr, r8: td.host.fresh() });
    await td.enter();
    expect(td.cpu.gprs[1]).toBe((1n << 62n) | 0x1000n);
  });

  it('leaves where a page is missing', async () => {
    const read = new RunningTd({}, [tdcall(ATTR_RD, { rcx: 0x5000n })]);
    expect(await read.enter()).toMatchObject({ status: 48n, rcx: 0n, rdx: 0n, r8: 0x5000n });
    const write = new RunningTd({}, [tdcall(ATTR_WR, { rcx: 0x5000n, rdx: 0n, r8: 0n })]);
    expect(await write.enter()).toMatchObject({ status: 48n, rcx: 2n, rdx: 5n, r8: 0x5000n });
  });

  it.each([
    ['attributes', { rcx: 0x1000n, rdx: 1n << 31n, r8: 0n }, 'operand RDX', 'module.l2.attributes'],
    ['flags', { rcx: 0x1000n, rdx: 0n, r8: 1n }, 'operand R8', 'module.l2.attributes'],
    ['an address that is not aligned', { rcx: 0x1001n, rdx: 0n, r8: 0n }, 'operand RCX', 'module.accept.mapping-info'],
  ])('refuses %s', async (_, registers, operand, rule) => {
    expect(await result({ pages }, tdcall(ATTR_WR, registers), 'rcx')).toEqual({
      status: `TDX_OPERAND_INVALID, ${operand}`,
      rule,
      rcx: 0n,
    });
    expect((await result({ pages }, tdcall(ATTR_WR, { rcx: 0x1000n, rdx: 0n, r8: 0n }))).status).toBe('TDX_SUCCESS');
  });
});
