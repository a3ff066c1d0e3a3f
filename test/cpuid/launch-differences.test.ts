import { expect, it } from 'vitest';
import { TrustDomain } from '../../src/launch/index.js';
import { openMock } from '../../src/mock/index.js';
import type { TdConfig } from '../../src/td/schema.js';
import { PROFILES } from './model.js';

async function differences(profile: string, config: TdConfig) {
  using system = openMock({ profile });
  using td = await TrustDomain.create(system, config);
  return td.differences;
}

it.each(PROFILES)('on %s nothing of what nobody asked for differs, whatever the XFAM', async (profile) => {
  for (const xfam of [undefined, [], ['AVX'], ['AVX', 'PKRU']] as TdConfig['xfam'][]) {
    expect(await differences(profile, xfam === undefined ? {} : { xfam })).toEqual([]);
  }
});

it('a feature that was asked for without its XFAM differs, for that reason', async () => {
  const found = await differences('spr-1.5.06', { xfam: ['AVX'], features: { AMX_BF16: false, AVX512_VNNI: true } });
  expect(found).toMatchObject([
    {
      leaf: 7,
      subleaf: 0,
      register: 'ecx',
      bits: 1 << 11,
      kind: 'xfam',
      reason: '0: XFAM lacks OPMASK, ZMM_HI256, HI16_ZMM',
    },
  ]);
});

it('leaf 0x1C that was asked for without LBR differs, for that reason', async () => {
  const found = await differences('spr-1.5.06', { cpuid: [{ leaf: 0x1c, eax: 8 }] });
  expect(found).toMatchObject([{ leaf: 0x1c, register: 'eax', bits: 8, kind: 'xfam' }]);
  expect(found[0]!.reason).toBe('0: the leaf is there only with XFAM.LBR');
});
