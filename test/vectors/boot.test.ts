import { describe, expect, it } from 'vitest';
import type { Platform } from '../../src/mock/platform.js';
import { loadPlatform } from '../../src/mock/platforms.js';
import { runBoot } from '../../src/vectors/boot.js';
import { runBoots } from '../../src/vectors/run-boots.js';

const started = { ok: true };
/** IA32_ARCH_CAPABILITIES without MDS_NO. */
const noMdsNo: Platform = { ...loadPlatform('spr'), msr: { ...loadPlatform('spr').msr, '0x10a': '0x12afdcb' } };
const refused = {
  ok: false,
  call: 'TDH.SYS.INIT',
  status: '0xc00009210000010a',
  name: 'TDX_INCORRECT_MSR_VALUE',
  msr: '0x10a',
};
/** CPUID(0xA) of version 4. */
const perfmon4: Platform = {
  ...loadPlatform('spr'),
  cpuid: loadPlatform('spr').cpuid.map((row) => (Number(row.leaf) === 0xa ? { ...row, eax: '0x8300804' } : row)),
};
const perfmonRefused = {
  ok: false,
  call: 'TDH.SYS.INIT',
  status: '0xc000090000000000',
  name: 'TDX_INCORRECT_CPUID_VALUE',
  rcx: '0xffffffff0000000a',
};
/** CPUID(0x1C) without an LBR depth, on which the module stops. */
const noLbr: Platform = {
  ...loadPlatform('spr'),
  cpuid: loadPlatform('spr').cpuid.filter((row) => Number(row.leaf) !== 0x1c),
};

describe('boot.<version> of a platform', () => {
  it('is what the module answers', () => {
    expect(runBoot(loadPlatform('spr'), '1.5.06', started)).toBeUndefined();
    expect(runBoot(noMdsNo, '1.5.06', refused)).toBeUndefined();
    expect(runBoot(perfmon4, '1.5.01', perfmonRefused)).toBeUndefined();
  });

  it.each([
    ['started', noMdsNo, started, 'expected a start, found TDH.SYS.INIT: TDX_INCORRECT_MSR_VALUE'],
    ['refused', loadPlatform('spr'), refused, 'found a start'],
    ['call', noMdsNo, { ...refused, call: 'TDH.SYS.CONFIG' }, 'call: expected TDH.SYS.CONFIG, found TDH.SYS.INIT'],
    ['status', noMdsNo, { ...refused, status: '0xc0000921000000bd' }, 'status: expected 0xc0000921000000bd'],
    ['name', noMdsNo, { ...refused, name: 'TDX_CMR_LIST_INVALID' }, 'name: expected TDX_CMR_LIST_INVALID'],
    ['msr', noMdsNo, { ...refused, msr: '0xbd' }, 'msr: expected 0xbd, found 0x10a'],
    ['rcx', perfmon4, { ...perfmonRefused, rcx: '0x4' }, 'rcx: expected 0x4, found 0xffffffff0000000a'],
    ['rcx that is missing', perfmon4, { ...perfmonRefused, rcx: undefined as never }, 'rcx: expected 0'],
  ])('that differs in %s is a difference', (_, platform, expected, difference) => {
    expect(runBoot(platform, '1.5.06', expected)).toContain(difference);
  });

  it('of a module that stops has a status in words, or none', () => {
    expect(runBoot(noLbr, '1.5.06', { ok: false, call: 'TDH.SYS.INIT' })).toBeUndefined();
    expect(runBoot(noLbr, '1.5.06', { ok: false, call: 'TDH.SYS.INIT', status: 'stopped' })).toBeUndefined();
    expect(runBoot(noLbr, '1.5.06', { ...refused, call: 'TDH.SYS.INIT' })).toContain('the module stops');
  });

  it('of a version without rules is a difference', () => {
    expect(runBoot(loadPlatform('spr'), '1.5.99', started)).toBe('no rules for TDX module 1.5.99');
  });
});

describe('a platforms file', () => {
  it('counts one check per platform and version, and shows the first differences', () => {
    const platforms = {
      a: { ...loadPlatform('spr'), boot: { '1.5.01': started, '1.5.06': started } },
      b: { ...noMdsNo, boot: { '1.5.05': refused, '1.5.06': started } },
      c: loadPlatform('gnr'),
    };
    const result = runBoots('some/platforms.json', platforms);
    expect(result).toMatchObject({ name: 'platforms.json', passed: 3, failed: 1 });
    expect(result?.differences[0]).toMatch(/^platform b, module 1\.5\.06: expected a start/);
  });

  it('without boot is only a source of platforms', () => {
    expect(runBoots('platforms.json', { c: loadPlatform('gnr') })).toBeUndefined();
  });
});
