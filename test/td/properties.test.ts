import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CPUID_FEATURES } from '../../src/cpuid/names.js';
import { TD_ATTRIBUTES } from '../../src/td/attributes.js';
import { checkInitVm } from '../../src/td/check/index.js';
import { TdConfigError } from '../../src/td/errors.js';
import { checkTdConfig, parseTdConfig } from '../../src/td/parse.js';
import { initVmParams, resolveTd } from '../../src/td/resolve.js';
import { type TdConfig, TdConfigSchema } from '../../src/td/schema.js';
import { validateTd } from '../../src/td/validate.js';
import { vcpuCpuid } from '../../src/td/vcpu-cpuid.js';
import { XFAM_FEATURES } from '../../src/td/xfam.js';
import { spr, spr1506, vectorHost } from './hosts.js';

fc.configureGlobal({ seed: 1 });

const fields = Object.keys(TdConfigSchema.pipe[0].entries);
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const host = fc.constantFrom(spr, spr1506, vectorHost('gnr'), vectorHost('spr_nola57'), vectorHost('spr_lass'));

// Values near the edges of what is allowed, well-formed.
const configs: fc.Arbitrary<TdConfig> = fc.record(
  {
    vcpus: fc.integer({ min: 1, max: 10 }),
    maxVcpus: fc.integer({ min: 1, max: 12 }),
    attributes: fc.oneof(
      fc.uniqueArray(fc.constantFrom(...(Object.keys(TD_ATTRIBUTES) as (keyof typeof TD_ATTRIBUTES)[])), {
        maxLength: 3,
      }),
      fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
    ),
    xfam: fc.oneof(
      fc.uniqueArray(fc.constantFrom(...(Object.keys(XFAM_FEATURES) as (keyof typeof XFAM_FEATURES)[])), {
        maxLength: 4,
      }),
      fc.bigInt({ min: 0n, max: 0xfffffn }),
    ),
    gpaw: fc.constantFrom(48 as const, 52 as const),
    tscKhz: fc.oneof(
      fc.integer({ min: 1, max: 0x7ffffffe }),
      fc.integer({ min: 1, max: 500 }).map((n) => n * 25_000),
    ),
    cpuidBase: fc.constantFrom('host' as const, 'zero' as const),
    cpuid: fc.array(
      fc.record(
        {
          leaf: fc.constantFrom(1, 4, 6, 7, 0xa, 0x1c, 0x1f, 0x23, 0x80000008, '0x80000008'),
          subleaf: fc.constantFrom(0, 1, 2, '0x1'),
          eax: u32,
          ebx: fc.constantFrom(0, 0x200, 0x10000),
          ecx: fc.constantFrom(0, 0x100, 0x201),
          edx: u32,
        },
        { requiredKeys: ['leaf'] },
      ),
      { maxLength: 3 },
    ),
    features: fc.dictionary(fc.constantFrom(...CPUID_FEATURES.map(({ name }) => name)), fc.boolean(), { maxKeys: 3 }),
  },
  { requiredKeys: [] },
);

// Values that are legal on most hosts, in combinations that nobody wrote down.
const plausible: fc.Arbitrary<TdConfig> = fc.record(
  {
    vcpus: fc.integer({ min: 1, max: 8 }),
    attributes: fc.constantFrom(0x10000000, [], ['SEPT_VE_DISABLE' as const]),
    xfam: fc.uniqueArray(fc.constantFrom('AVX' as const, 'AVX512' as const, 'PKRU' as const, 'AMX' as const)),
    gpaw: fc.constantFrom(48 as const, 52 as const),
    tscKhz: fc.integer({ min: 100_000, max: 10_000_000 }),
    cpuidBase: fc.constantFrom('host' as const, 'zero' as const),
    cpuid: fc.constantFrom([], [{ leaf: 0x1c, eax: 8 }], [{ leaf: 7, subleaf: '1', eax: 0x1c00 }]),
    features: fc.dictionary(fc.constantFrom('WBNOINVD', 'BMI2', 'AVX512F', 'HT', 'SSE2'), fc.constant(false)),
  },
  { requiredKeys: [] },
);

test('parsing anything gives a configuration or a TdConfigError', () => {
  const garbage = fc.oneof(
    fc.anything(),
    fc.dictionary(
      fc.constantFrom(...fields, 'x', '__proto__'),
      fc.oneof(fc.anything(), fc.constantFrom(1, '0x1', [], {})),
    ),
  );
  fc.assert(
    fc.property(garbage, (input) => {
      try {
        parseTdConfig(input);
      } catch (error) {
        expect(error).toBeInstanceOf(TdConfigError);
        expect((error as TdConfigError).findings.length).toBeGreaterThan(0);
      }
    }),
  );
});

test('what is well-formed in a damaged configuration is well-formed by itself', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.constantFrom(...fields), fc.anything()), configs, (damage, config) => {
      const { config: rest } = checkTdConfig({ ...config, ...damage });
      expect(checkTdConfig(rest).findings).toEqual([]);
    }),
  );
});

/** The part of the configuration at a path, or the schema's field where it was left to its default. */
function isPlace(config: TdConfig, path: string): boolean {
  const keys = path.split(/[.[]/).map((key) => key.replace(/\]$/, ''));
  const [field, ...deeper] = keys as [string, ...string[]];
  if (!fields.includes(field)) return false;
  if (field === 'features') return Object.hasOwn(config.features ?? {}, path.slice('features.'.length));
  let value: unknown = config[field as keyof TdConfig];
  for (const key of deeper) value = (value as Record<string, unknown> | undefined)?.[key];
  return deeper.length === 0 || value !== undefined;
}

test('every finding leads to a part of the configuration', () => {
  fc.assert(
    fc.property(configs, host, (config, host) => {
      for (const { path } of validateTd(config, host)) expect(isPlace(config, path), path).toBe(true);
    }),
  );
});

test('a configuration without errors resolves to a request that violates none of the checks of KVM_TDX_INIT_VM', () => {
  let good = 0;
  fc.assert(
    fc.property(fc.oneof(plausible, configs), host, (config, host) => {
      if (validateTd(config, host).some(({ severity }) => severity === 'error')) return;
      good++;
      const td = resolveTd(config, host);
      const { attributes, xfam, cpuid } = initVmParams(td);
      const violations = checkInitVm({ attributes, xfam, cpuid, tscKhz: td.tscKhz }, host);
      expect(violations.filter(({ severity }) => severity === 'error')).toEqual([]);
      expect(td.tscKhz % 25_000).toBe(0);
      expect(td.vcpus).toBeLessThanOrEqual(host.maxVcpus);
    }),
  );
  expect(good).toBeGreaterThan(20);
});

test('the vCPUs of any configuration have x2APIC, distinct APIC ids, and the GPAW of the TD', () => {
  fc.assert(
    fc.property(configs, host, fc.integer({ min: 0, max: 4095 }), (config, host, id) => {
      const td = resolveTd(config, host);
      const entries = vcpuCpuid(td, host, id);
      const at = (leaf: number) => entries.find((entry) => entry.function === leaf && entry.index === 0)!;
      expect((at(1).ecx >>> 21) & 1).toBe(1);
      expect(at(0x1f).edx).toBe(id);
      expect((at(0x80000008).eax >>> 16) & 0xff).toBe(td.gpaw);
      expect(at(0x80000008).eax & 0xff).toBeGreaterThan(31);
      expect(at(0x80000000).eax).toBeGreaterThanOrEqual(0x80000008);
      const places = entries.map(({ function: leaf, index }) => `${leaf}.${index}`);
      expect(new Set(places).size).toBe(places.length);
      expect(entries.length).toBeLessThanOrEqual(256);
      for (const { eax, ebx, ecx, edx } of entries) {
        for (const value of [eax, ebx, ecx, edx]) expect(value >>> 0).toBe(value);
      }
    }),
  );
});
