import { describe, expect, it } from 'vitest';
import { loadPlatform } from '../../src/mock/platforms.js';
import { runGuestCpuid } from '../../src/vectors/guest-cpuid.js';
import { readCases } from './read.js';

describe('a case that expects something else fails with what differs', () => {
  const moduleVersion = '1.5.06';
  const testCase = readCases(`guest_cpuid-${moduleVersion}.jsonl.gz`).find((c) => c.expect.tdg_vm_wr_td_ctls && c.xss);
  const run = (change: (expected: Record<string, unknown>) => void): unknown => {
    const changed = structuredClone(testCase);
    change(changed.expect);
    return runGuestCpuid(changed, { platform: loadPlatform, moduleVersion });
  };

  it.each([
    'status',
    'name',
    'kvm_get_cpuid',
    'vp_init',
    'mr_finalize',
    'xsetbv',
    'wrmsr_xss',
    'tdg_vm_wr_td_ctls',
    'entry_gprs',
    'guest_cpuid',
    'tdexit',
  ])('%s', (field) => {
    const other = (value: unknown): unknown => {
      if (typeof value === 'string') return `${value}0`;
      if (Array.isArray(value)) return [...value.slice(0, -1), `${value.at(-1)}0`];
      return { ...(value as object), other: 1 };
    };
    const result = run((expected) => {
      expected[field] = other(expected[field]);
    });
    expect(result).toMatchObject({ ok: false, difference: expect.stringContaining(field) });
  });

  it('or something that the format does not have', () => {
    const result = run((expected) => {
      expected['rflags'] = '0x2';
    });
    expect(result).toEqual({ ok: false, difference: 'rflags: expected "0x2", found undefined' });
  });
});

describe('a case runs where the host has laid out its memory and KeyIDs otherwise', () => {
  const moduleVersion = '1.5.06';
  const testCase = readCases(`guest_cpuid-${moduleVersion}.jsonl.gz`).find(({ profile }) => profile === 'spr');
  const spr = loadPlatform('spr');

  it.each([
    [
      '7 KeyIDs for TDX from 8 on',
      { ...spr, msr: { ...spr.msr, '0x87': '0x700000007' }, sys: { ...spr.sys, global_hkid: 8 } },
    ],
    ['a global KeyID that is not the first', { ...spr, sys: { ...spr.sys, global_hkid: 40 } }],
    ['a TDMR at 8 GiB', { ...spr, sys: { ...spr.sys, tdmr_base: '0x200000000' } }],
  ])('%s', (_, platform) => {
    expect(runGuestCpuid(testCase, { platform: () => platform, moduleVersion })).toEqual({ ok: true });
  });
});
