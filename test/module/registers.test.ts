import { describe, expect, it } from 'vitest';
import { Host, SOURCE, TDH } from './host.js';

const SUPPRESS_VE = 1n << 63n;

describe('Output registers', () => {
  it('keep their inputs where a leaf writes none', () => {
    const host = new Host();
    const result = host.call(TDH.MNG_CREATE, { rcx: host.fresh(), rdx: 34n, r8: 8n, r9: 9n, r10: 10n, r11: 11n });
    expect(result).toMatchObject({ status: 0n, rdx: 34n, r8: 8n, r9: 9n, r10: 10n, r11: 11n });
  });

  it('are cleared by leaves with extended error information, even when an earlier check fails', () => {
    const host = new Host();
    const result = host.call(TDH.MEM_PAGE_ADD, { rcx: 0n, rdx: host.fresh(), r8: 3n, r9: 4n });
    expect(result).toMatchObject({ rcx: 0n, rdx: 0n, r8: 3n, r9: 4n, rule: 'module.page.type' });
  });

  it('hold the entry and its level and state where a walk of the secure EPT ends too early', () => {
    const host = new Host();
    const tdr = host.td();
    host.must(TDH.MEM_SEPT_ADD, { rcx: 3n, rdx: tdr, r8: host.fresh() });
    const result = host.call(TDH.MEM_PAGE_ADD, { rcx: 0x1000n, rdx: tdr, r8: host.fresh(), r9: SOURCE });
    expect(result).toMatchObject({ rcx: SUPPRESS_VE, rdx: 2n, rule: 'module.sept.walk' });
  });

  it('hold a mapped page with RWX, write-back and its address, a pending one without permissions, a table without address', () => {
    const host = new Host();
    const tdr = host.td();
    host.tables(tdr);
    const added = host.add(tdr, 0n);
    const augmented = host.fresh();
    host.must(TDH.MEM_PAGE_AUG, { rcx: 0x1000n, rdx: tdr, r8: augmented });
    const read = (rcx: bigint) => host.must(TDH.MEM_SEPT_RD, { rcx, rdx: tdr });
    expect(read(0n)).toMatchObject({ rcx: SUPPRESS_VE | added | 0xf7n, rdx: 0x400n });
    expect(read(0x1000n)).toMatchObject({ rcx: SUPPRESS_VE | augmented | 0xf0n, rdx: 0x200n });
    expect(read(1n)).toMatchObject({ rcx: 7n, rdx: 0x8401n });
    expect(read(0x2000n)).toMatchObject({ rcx: SUPPRESS_VE, rdx: 0n });
    host.must(TDH.MEM_RANGE_BLOCK, { rcx: 0n, rdx: tdr });
    expect(read(0n)).toMatchObject({ rcx: SUPPRESS_VE | added | 0xf0n, rdx: 0x100n });
  });

  it('give back the page that was removed, and type, owner and size of the one that is reclaimed', () => {
    const host = new Host();
    const tdr = host.td();
    host.tables(tdr);
    const page = host.add(tdr, 0n);
    expect(host.call(TDH.PHYMEM_PAGE_RDMD, { rcx: page })).toMatchObject({ rcx: 3n, rdx: tdr, r8: 0n });
    expect(host.must(TDH.MEM_PAGE_REMOVE, { rcx: 0n, rdx: tdr }).rcx).toBe(page);
    expect(host.call(TDH.PHYMEM_PAGE_RDMD, { rcx: page })).toMatchObject({ rcx: 0n, rdx: 0n });
    const refused = host.call(TDH.PHYMEM_PAGE_RECLAIM, { rcx: tdr });
    expect(refused).toMatchObject({ rcx: 4n, rdx: 0n, rule: 'module.reclaim.lifecycle' });
  });

  it('of TDH.MNG.INIT name the CPUID leaf that was refused, and are 0 otherwise', () => {
    const host = new Host();
    const tdr = host.fresh();
    host.must(TDH.MNG_CREATE, { rcx: tdr, rdx: 33n });
    expect(host.call(TDH.MNG_INIT, { rcx: tdr, rdx: SOURCE })).toMatchObject({ rcx: 0n, rdx: SOURCE });
    host.must(TDH.MNG_KEY_CONFIG, { rcx: tdr });
    for (let i = 0; i < 6; i++) host.must(TDH.MNG_ADDCX, { rcx: host.fresh(), rdx: tdr });
    const params = new DataView(host.page(SOURCE).buffer);
    params.setUint32(8, 3, true);
    params.setUint16(16, 1, true);
    params.setUint32(24, 0x1e, true);
    params.setUint16(40, 40, true);
    params.setUint32(256, 0xffff_ffff, true);
    const result = host.call(TDH.MNG_INIT, { rcx: tdr, rdx: SOURCE });
    expect(result).toMatchObject({ status: 0xc000_0100_0000_0045n, rcx: 0xffff_ffff_0000_0001n });
  });
});
