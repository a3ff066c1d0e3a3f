import { describe, expect, it } from 'vitest';
import type { Platform } from '../../src/mock/platform.js';
import { loadPlatform } from '../../src/mock/platforms.js';
import { comparePlatformBoots } from '../../src/vectors/platform-boot.js';

const spr = loadPlatform('spr');
/** No energy filtering: TDH.SYS.INIT refuses with MSR 0xbc. */
const noFiltering = { ...spr, msr: { ...spr.msr, '0xbc': '0x0' } };
/** The cache lines of CPUID(4, 0) are not 64 bytes. */
const oddCache = {
  ...spr,
  cpuid: spr.cpuid.map((r) => (r.leaf === '0x4' && r.subleaf === '0x0' ? { ...r, ebx: '0x2c0001f' } : r)),
};
/** More than 52 address bits: the module stops without a status. */
const wide = { ...spr, cpuid: spr.cpuid.map((r) => (r.leaf === '0x80000008' ? { ...r, eax: '0x3039' } : r)) };

type Expected = NonNullable<Platform['boot']>[string];
const compare = (platform: Platform, boot: Expected, version = '1.5.06') =>
  comparePlatformBoots({ it: { ...platform, boot: { [version]: boot } } });
const msr = {
  ok: false,
  call: 'TDH.SYS.INIT',
  status: '0xc0000921000000bc',
  name: 'TDX_INCORRECT_MSR_VALUE',
  msr: '0xbc',
};
const leaf = { ok: false, call: 'TDH.SYS.INIT', status: '0xc000090000000000', rcx: '0x4' };

describe('what a platforms file says of starting a module', () => {
  it('is nothing where no profile says it', () => {
    expect(comparePlatformBoots({ spr })).toBeUndefined();
    expect(comparePlatformBoots({})).toBeUndefined();
  });

  it.each([
    ['that it starts', spr, { ok: true }],
    ['which call fails with which status and MSR', noFiltering, msr],
    ['which CPUID leaf is wrong', oddCache, leaf],
    ['that it stops without a status', wide, { ok: false, call: 'TDH.SYS.INIT' }],
  ])('is held against the model: %s', (_, platform, boot) => {
    expect(compare(platform, boot)).toEqual({ passed: 1, failed: 0, differences: [] });
  });

  it.each([
    [
      'a start',
      noFiltering,
      { ok: true },
      /^it with 1.5.06: ok: expected a start, found TDH.SYS.INIT: .*energy-filtering$/,
    ],
    ['a failure', spr, msr, 'it with 1.5.06: ok: expected TDH.SYS.INIT to fail, found a start'],
    [
      'another call',
      noFiltering,
      { ...msr, call: 'TDH.SYS.CONFIG' },
      /call: expected TDH.SYS.CONFIG, found TDH.SYS.INIT/,
    ],
    [
      'another status',
      noFiltering,
      { ...msr, status: '0xc0000921000000bd' },
      /status: expected 0xc0000921000000bd TDX_INC/,
    ],
    ['another leaf', oddCache, { ...leaf, rcx: '0x5' }, /rcx: expected 0x5, found 0x4/],
    ['no leaf', oddCache, { ok: false, call: leaf.call, status: leaf.status }, /rcx: expected 0x0, found 0x4/],
    ['another MSR', noFiltering, { ...msr, msr: '0xbd' }, /msr: expected 0xbd, found 0xbc/],
  ])('differs where it expects %s', (_, platform, boot, difference) => {
    const { passed, failed, differences } = compare(platform, boot)!;
    expect([passed, failed, differences.length]).toEqual([0, 1, 1]);
    expect(differences[0]).toMatch(difference);
  });

  it('fails for a module without rules, and names those that there are', () => {
    expect(compare(spr, { ok: true }, '1.4.0')).toMatchObject({
      failed: 1,
      differences: [expect.stringContaining('it with 1.4.0: No rules for TDX module 1.4.0; there are rules for')],
    });
  });
});
