import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DEPENDENT_FEATURES, unmetDependencies } from '../../src/cpuid/dependencies.js';
import { bundledVersions, loadRules, REGISTERS } from '../../src/cpuid/index.js';
import { describeCpuidBits, findFeature } from '../../src/cpuid/names.js';
import {
  type CpuidEvaluation,
  type CpuidHost,
  cpuidHostOfModule,
  evaluateCpuid,
  fieldsOf,
} from '../../src/cpuid/questions/index.js';
import type { CpuidEntry } from '../../src/kvm/cpuid.js';
import type { TdConfig } from '../../src/td/schema.js';
import { configurations, cpuidOnModel, PROFILES, profileHost } from './model.js';

/** Bits that are known must be those of the TD; how many registers were known whole. */
function neverContradicts(evaluation: CpuidEvaluation, got: readonly CpuidEntry[]): number {
  let whole = 0;
  for (const { leaf, subleaf, register, stored } of evaluation.registers) {
    const entry = got.find((e) => e.function === leaf && e.index === (subleaf ?? 0));
    if (!stored || !entry) continue;
    const known = ~stored.unknown >>> 0;
    expect([leaf, subleaf, register, (entry[register] & known) >>> 0]).toEqual([leaf, subleaf, register, stored.value]);
    whole += Number(stored.unknown === 0);
  }
  return whole;
}

/** What is known of a host in the four cases of knowledge. */
const KNOWLEDGE: Record<string, (host: CpuidHost) => CpuidHost> = {
  'the host and its module': (host) => host,
  'the module and what KVM says': ({ name, rules, facts }) => ({ name, rules: rules!, facts: facts! }),
  'what KVM says': ({ name, facts }) => ({ name, facts: facts! }),
  'the module': ({ rules }) => cpuidHostOfModule(rules!.module),
};

describe('what evaluate says', () => {
  it.each(Object.entries(KNOWLEDGE))(
    'with %s known is never contradicted by KVM_TDX_GET_CPUID of the model',
    (knows, of) => {
      let built = 0;
      let whole = 0;
      fc.assert(
        fc.property(fc.constantFrom(...PROFILES), configurations, (profile, config) => {
          const evaluation = evaluateCpuid(of(profileHost(profile)), config);
          const got = cpuidOnModel(profile, config);
          if (!Array.isArray(got)) {
            expect(evaluation.accepted).not.toBe(true);
            return;
          }
          built++;
          expect([config, evaluation.accepted, evaluation.findings]).not.toEqual([config, false, evaluation.findings]);
          if (knows === 'the host and its module') expect(evaluation.accepted).toBe(true);
          whole += neverContradicts(evaluation, got);
        }),
        { numRuns: 150, seed: 3 },
      );
      expect(built).toBeGreaterThan(30);
      expect(whole / built).toBeGreaterThan(knows === 'what KVM says' ? 3 : 60);
    },
  );

  it('is about every bit of every leaf of the module, with a reason', () => {
    for (const profile of PROFILES) {
      const host = profileHost(profile);
      const evaluation = evaluateCpuid(host);
      expect(evaluation.registers.length).toBe(host.rules!.entries.length * 4);
      for (const view of evaluation.registers) {
        const fields = fieldsOf(evaluation, view);
        expect(fields.reduce((bits, { high, low }) => bits + high - low + 1, 0)).toBe(32);
        for (const { reason } of fields) expect(reason).not.toMatch(/undefined|^$/);
        expect(view.guest.unknown).toBe(0);
      }
    }
  });
});

describe('on Sapphire Rapids with module 1.5.06', () => {
  const host = profileHost('spr-1.5.06');
  const bit = (config: TdConfig, name: string) => {
    const { leaf, subleaf, register, low } = findFeature(name)!;
    const { value, kind, reason } = evaluateCpuid(host, config).bit(leaf, subleaf, register, low)!;
    return [value, kind, reason];
  };

  it.each<[string, TdConfig, string, unknown[]]>([
    ['a fixed bit', {}, 'SSE2', ['native', 1]],
    [
      'AVX-512 without its XFAM',
      { xfam: ['AVX'] },
      'AVX512F',
      ['xfam', 0, '0: XFAM lacks OPMASK, ZMM_HI256, HI16_ZMM'],
    ],
    ['AVX-512 with it', {}, 'AVX512F', ['xfam', 1]],
    [
      'an allowed bit that was not asked for',
      { features: { WBNOINVD: false } },
      'WBNOINVD',
      ['allowed', 0, 'allowed, and not asked for'],
    ],
    ['CR4.OSXSAVE', {}, 'OSXSAVE', ['dynamic', 'guest decides', 'shows CR4: cr4[18]']],
    ['the topology', {}, 'TOPOLOGY_TYPE.0', ['opt-in', 'guest decides']],
    ['PKS, which is an attribute', {}, 'PKS', ['attribute', 0]],
    ['the TSC', { tscKhz: 2_000_000 }, 'TSC_NUMERATOR', ['calculated', 0]],
  ])('%s is what Intel calls it', (_, config, name, [kind, value, reason]) => {
    const [hasValue, hasKind, hasReason] = bit(config, name);
    expect([hasKind, hasValue]).toEqual([kind, value]);
    if (reason !== undefined) expect(hasReason).toBe(reason);
  });

  it('leaf 6 gives a #VE, and nobody but the guest knows what comes of it', () => {
    expect(evaluateCpuid(host).bit(6, 0, 'eax', 2)).toMatchObject({
      kind: '#VE',
      value: 'guest decides',
      stored: undefined,
    });
  });

  it('without its processor native bits are unknown, and what the module fixes is not', () => {
    const module = evaluateCpuid(cpuidHostOfModule('1.5.06'), { xfam: ['AVX'] });
    expect(module.bit(7, 0, 'ebx', 16)).toMatchObject({ value: 0, kind: 'xfam' });
    expect(module.bit(7, 0, 'ebx', 5)).toMatchObject({ value: 'unknown', kind: 'xfam' });
    expect(module.bit(0, 0, 'eax', 0)).toMatchObject({ value: 1, kind: 'fixed' });
  });
});

describe('what a TD lacks by default', () => {
  it('is named by features that exist', () => {
    for (const name of DEPENDENT_FEATURES) expect([name, findFeature(name)?.name]).toEqual([name, name]);
  });

  it.each(bundledVersions())('is everything that module %s makes depend on XFAM', (version) => {
    const missed: string[] = [];
    for (const { leaf, subleaf, xfam, allowed, configured } of loadRules(version).entries) {
      for (const [r, register] of REGISTERS.entries()) {
        for (const { bit, masks } of xfam) {
          const gated = (masks[r]! & (allowed[r]! | configured[r]!)) >>> 0;
          const without = { xfam: (1n << 64n) - 1n - (1n << BigInt(bit)), attributes: (1n << 64n) - 1n };
          const left = (gated & ~unmetDependencies(leaf, subleaf ?? 0, register, without)) >>> 0;
          if (left !== 0) missed.push(describeCpuidBits(leaf, subleaf ?? 0, register, left));
        }
      }
    }
    // 1.5.01 wants AVX-512 for AVX_VNNI (XFAM 5, 6 and 7), which later modules give with AVX.
    expect(missed).toEqual(version === '1.5.01' ? Array(3).fill('AVX_VNNI (bit 4)') : []);
  });
});
