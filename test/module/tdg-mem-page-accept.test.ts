import { describe, expect, it } from 'vitest';
import { LEAVE, RunningTd, statusOf, tdcall, words } from './guest-td.js';
import { TDH } from './host.js';

const ACCEPT = 6;
const MIB_2 = 0x20_0000n;

/** A TD that accepts `rcx`, after `prepare`. */
async function accept(rcx: bigint, prepare: (td: RunningTd) => void = () => {}) {
  const td = new RunningTd({ pages: [0n] }, [tdcall(ACCEPT, { rcx }), LEAVE]);
  prepare(td);
  const exit = await td.enter();
  return { td, exit, ...statusOf(td) };
}

const augment = (gpa: bigint) => (td: RunningTd) =>
  td.host.must(TDH.MEM_PAGE_AUG, { rcx: gpa, rdx: td.tdr, r8: td.host.fresh() });
const augmentLarge = (td: RunningTd) =>
  td.host.must(TDH.MEM_PAGE_AUG, { rcx: MIB_2 | 1n, rdx: td.tdr, r8: 0x1_0800_0000n });

describe('TDG.MEM.PAGE.ACCEPT', () => {
  it('maps a pending page of 4 KiB, full of zeros', async () => {
    const { td, status } = await accept(0x1000n, augment(0x1000n));
    expect(status).toBe('TDX_SUCCESS');
    expect(td.td.log).toEqual(['mapped 0 4096', 'mapped 1000 4096']);
    expect(td.bytes(0x1000, 4096)).toEqual(new Uint8Array(4096));
  });

  it('maps a pending page of 2 MiB', async () => {
    const { td, status } = await accept(MIB_2 | 1n, augmentLarge);
    expect(status).toBe('TDX_SUCCESS');
    expect(td.td.log).toEqual(['mapped 0 4096', 'mapped 200000 2097152']);
    expect(td.bytes(Number(MIB_2) + 0x1f_f000, 1)).toEqual(Uint8Array.of(0));
  });

  it('says that a page was accepted, or added, before', async () => {
    expect(await accept(0n)).toMatchObject({ status: 'TDX_PAGE_ALREADY_ACCEPTED', rule: 'module.accept.once' });
  });

  it('says so with level 1 for a part of a page of 2 MiB', async () => {
    const td = new RunningTd({}, [tdcall(ACCEPT, { rcx: MIB_2 | 1n }), tdcall(ACCEPT, { rcx: MIB_2 }), LEAVE]);
    augmentLarge(td);
    await td.enter();
    expect(statusOf(td).status).toBe('TDX_PAGE_ALREADY_ACCEPTED, details 0x1');
  });

  it('does not accept 2 MiB of small pages at once', async () => {
    expect(await accept(1n)).toMatchObject({
      status: 'TDX_PAGE_SIZE_MISMATCH, details 0x1',
      rule: 'module.accept.size',
    });
  });

  it.each([
    ['of a level that is no page', 2n],
    ['with reserved bits', 0x8n],
    ['that is not aligned to 2 MiB', 0x1001n],
    ['with bits above 51', 1n << 52n],
  ])('refuses an address %s', async (_, rcx) => {
    expect(await accept(rcx)).toMatchObject({
      status: 'TDX_OPERAND_INVALID, operand RCX',
      rule: 'module.accept.mapping-info',
    });
  });

  it.each([
    ['shared', 1n << 47n],
    ['beyond the GPA width', 1n << 48n],
  ])('refuses an address that is %s', async (_, rcx) => {
    expect(await accept(rcx)).toMatchObject({ status: 'TDX_OPERAND_INVALID, operand RCX', rule: 'module.operand.gpa' });
  });

  const details = (requested: bigint, level: bigint, state: bigint, leaf = 0n): bigint =>
    1n | ((requested | (level << 3n) | (state << 6n) | (leaf << 14n)) << 32n);

  it.each([
    ['a page that the host never gave', 0x5000n, () => {}, details(0n, 0n, 0n), 0x5000n],
    ['2 MiB that the host never gave', MIB_2 | 1n, () => {}, details(1n, 1n, 0n), MIB_2],
    ['a part of a pending page of 2 MiB', MIB_2 + 0x3000n, augmentLarge, details(0n, 1n, 2n, 1n), MIB_2 + 0x3000n],
    [
      'a pending page that is blocked',
      0x1000n,
      (td: RunningTd) => {
        augment(0x1000n)(td);
        td.host.must(TDH.MEM_RANGE_BLOCK, { rcx: 0x1000n, rdx: td.tdr });
      },
      details(0n, 0n, 3n, 1n),
      0x1000n,
    ],
  ])('leaves the TD for %s: a write, and where the walk ended', async (_, rcx, prepare, rdx, r8) => {
    const { td, exit } = await accept(rcx, prepare);
    expect(exit).toMatchObject({ status: 48n, rcx: 2n, rdx, r8 });
    expect(td.cpu.rip).toBe(0xffff_fff0n);
  });

  it('is executed again after the host gave the page', async () => {
    const again = tdcall(ACCEPT, { rcx: 0x5000n });
    const td = new RunningTd({}, [again, again, LEAVE]);
    expect((await td.enter()).status).toBe(48n);
    augment(0x5000n)(td);
    expect(words((await td.enter()).status)).toContain('TDX_NON_RECOVERABLE_VCPU');
    expect(statusOf(td).status).toBe('TDX_SUCCESS');
  });
});
