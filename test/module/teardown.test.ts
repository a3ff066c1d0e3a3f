import { describe, expect, it } from 'vitest';
import { loadPlatform } from '../../src/mock/platforms.js';
import { Host, TDH } from './host.js';

describe('Teardown', () => {
  it('returns every page and KeyID, in the order Linux uses', () => {
    const host = new Host();
    const pages: bigint[] = [];
    const fresh = host.fresh.bind(host);
    host.fresh = () => {
      const page = fresh();
      pages.push(page);
      return page;
    };
    for (let round = 0; round < 3; round++) {
      pages.length = 0;
      const tdr = host.td();
      const tdvpr = host.vcpu(tdr);
      host.tables(tdr);
      host.add(tdr, 0n);
      host.must(TDH.MR_FINALIZE, { rcx: tdr });
      expect(host.module.pagesUsed).toBe(pages.length);
      host.must(TDH.VP_FLUSH, { rcx: tdvpr });
      host.must(TDH.MNG_VPFLUSHDONE, { rcx: tdr });
      host.must(TDH.PHYMEM_CACHE_WB, { rcx: 0n });
      host.must(TDH.MNG_KEY_FREEID, { rcx: tdr });
      const [first, ...children] = pages;
      for (const page of [...children, first!]) {
        host.must(TDH.PHYMEM_PAGE_RECLAIM, { rcx: page });
        host.must(TDH.PHYMEM_PAGE_WBINVD, { rcx: page | (33n << 46n) });
      }
      expect(host.module.pagesUsed).toBe(0);
      expect(host.module.tds.size).toBe(0);
    }
  });

  it('waits for the caches of every package', () => {
    const host = new Host();
    const tdr = host.td();
    host.must(TDH.MNG_VPFLUSHDONE, { rcx: tdr });
    host.must(TDH.PHYMEM_CACHE_WB, { rcx: 0n, package: 1 });
    expect(host.status(TDH.MNG_KEY_FREEID, { rcx: tdr })).toBe('TDX_WBCACHE_NOT_COMPLETE');
    host.must(TDH.PHYMEM_CACHE_WB, { rcx: 0n });
    expect(host.status(TDH.MNG_KEY_FREEID, { rcx: tdr })).toBe('TDX_SUCCESS');
    expect(host.status(TDH.PHYMEM_CACHE_WB, { rcx: 1n })).toBe('TDX_WBCACHE_RESUME_ERROR');
  });
});

describe('KeyIDs', () => {
  it('run out: as many TDs as there are private KeyIDs besides the global one', () => {
    const host = new Host();
    for (let hkid = 33n; hkid <= 63n; hkid++) host.must(TDH.MNG_CREATE, { rcx: host.fresh(), rdx: hkid });
    expect(host.status(TDH.MNG_CREATE, { rcx: host.fresh(), rdx: 32n })).toBe('TDX_HKID_NOT_FREE');
    expect(host.status(TDH.MNG_CREATE, { rcx: host.fresh(), rdx: 63n })).toBe('TDX_HKID_NOT_FREE');
    expect(host.status(TDH.MNG_CREATE, { rcx: host.fresh(), rdx: 64n })).toBe('TDX_OPERAND_INVALID, operand RDX');
  });
});

describe('A module that stopped itself', () => {
  it('never answers again', () => {
    const platform = structuredClone(loadPlatform('spr'));
    const fms = '0x906f8';
    const [one] = platform.cpuid.filter((row) => Number(row.leaf) === 1);
    Object.assign(one!, { eax: fms });
    Object.assign(platform.sys, { socket_fms: [fms] });
    const host = new Host('1.5.06', {}, platform);
    const MIGRATABLE = 1 << 29;
    expect(() => host.td({ attributes: MIGRATABLE })).toThrow(/0x8000ff00ffff0000/);
    expect(host.call(TDH.PHYMEM_CACHE_WB)).toMatchObject({ rule: 'module.call.stopped' });
  });
});
