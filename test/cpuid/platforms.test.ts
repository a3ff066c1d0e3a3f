import { describe, expect, it } from 'vitest';
import { bundledPlatforms, loadPlatform, parsePlatform } from '../../src/mock/platforms.js';

describe('platforms', () => {
  it('are bundled by name', () => {
    expect(bundledPlatforms()).toEqual(['gnr', 'spr', 'spr_lass', 'spr_nola57']);
    expect(loadPlatform('spr').name).toBe('spr');
    expect(() => loadPlatform('emr')).toThrow("No platform 'emr'; there are gnr, spr, spr_lass, spr_nola57");
  });

  const spr = (): Record<string, unknown> => structuredClone(loadPlatform('spr')) as unknown as Record<string, unknown>;

  it('are taken from JSON as they are', () => {
    expect(parsePlatform(spr())).toEqual(loadPlatform('spr'));
  });

  it.each([
    [
      'cpuid[0].eax',
      (p: Record<string, unknown>) => ((p['cpuid'] as Record<string, unknown>[])[0]!['eax'] = '0x100000000'),
      'platform cpuid[0].eax: expected a number of 32 bits, found "0x100000000"',
    ],
    [
      'cpuid[1].leaf',
      (p: Record<string, unknown>) => delete (p['cpuid'] as Record<string, unknown>[])[1]!['leaf'],
      'platform cpuid[1].leaf: expected a number of 32 bits, found nothing',
    ],
    [
      'msr.0x10a',
      (p: Record<string, unknown>) => ((p['msr'] as Record<string, unknown>)['0x10a'] = 'many'),
      'platform msr.0x10a: expected a number of 64 bits, found "many"',
    ],
    [
      'sys.cmr',
      (p: Record<string, unknown>) => ((p['sys'] as Record<string, unknown>)['cmr'] = [['0x0']]),
      'platform sys.cmr: expected a list of [base, size], found [["0x0"]]',
    ],
    [
      'sys.global_hkid',
      (p: Record<string, unknown>) => ((p['sys'] as Record<string, unknown>)['global_hkid'] = -1),
      'platform sys.global_hkid: expected a KeyID, found -1',
    ],
    ['name', (p: Record<string, unknown>) => delete p['name'], 'platform name: expected a string, found nothing'],
  ])('with a wrong %s are refused with the reason', (_, change, message) => {
    const platform = spr();
    change(platform);
    expect(() => parsePlatform(platform)).toThrow(message);
  });
});
