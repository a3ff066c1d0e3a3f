import { describe, expect, it } from 'vitest';
import { MAP_KINDS, mapKindOf } from '../../src/cpuid/map/kinds.js';
import { cpuidMap, differingBits, kindsOf, type MapLeaf } from '../../src/cpuid/map/map.js';
import { findFeature } from '../../src/cpuid/names.js';
import { BIT_KINDS, type CpuidHost, cpuidHostOfModule, evaluateCpuid } from '../../src/cpuid/questions/index.js';
import type { TdConfig } from '../../src/td/schema.js';
import { PROFILES, profileHost } from '../cpuid/model.js';

const mapOf = (host: CpuidHost, config: TdConfig = {}) => cpuidMap(evaluateCpuid(host, config));

function registerOf(map: readonly MapLeaf[], feature: string) {
  const { leaf, subleaf, register, low } = findFeature(feature)!;
  const found = map.find((one) => one.leaf === leaf && (one.subleaf ?? 0) === subleaf)!;
  return { register: found.registers.find((one) => one.register === register)!, bit: low };
}

function bitOf(map: readonly MapLeaf[], feature: string) {
  const { register, bit } = registerOf(map, feature);
  const field = register.fields.find(({ high, low }) => bit >= low && bit <= high)!;
  const at = (mask: number) => (mask >>> bit) & 1;
  const { requested, guest } = register;
  return { ...field, asked: requested && at(requested.mask) ? at(requested.value) : undefined, found: at(guest.value) };
}

describe('the map', () => {
  it.each([...PROFILES.map(profileHost), cpuidHostOfModule('1.5.01'), cpuidHostOfModule('1.5.06')])(
    'of $name has every bit once, of the kind and with the reason of the evaluation',
    (host) => {
      const evaluation = evaluateCpuid(host);
      const map = cpuidMap(evaluation);
      expect(map.length * 4).toBe(evaluation.registers.length);
      const drawn: string[] = [];
      const evaluated: string[] = [];
      for (const { leaf, subleaf, registers } of map) {
        for (const register of registers) {
          const place = `${leaf} ${subleaf} ${register.register}`;
          for (const { high, low, kind, reason } of register.fields) {
            for (let bit = low; bit <= high; bit++) {
              const known = evaluation.bit(leaf, subleaf ?? 0, register.register, bit)!;
              const absent = kind === 'absent' && known.kind === 'fixed' && known.value === 0;
              drawn.push(`${place} ${drawn.length % 32} ${kind}: ${reason}`);
              evaluated.push(`${place} ${bit} ${absent ? 'absent' : mapKindOf(known.kind)}: ${known.reason}`);
            }
          }
        }
      }
      expect(drawn).toHaveLength(evaluation.registers.length * 32);
      expect(drawn).toEqual(evaluated);
    },
  );

  it('has the requested value beside the resulting one', () => {
    const host = profileHost('spr-1.5.06');
    expect(bitOf(mapOf(host), 'WBNOINVD')).toMatchObject({ kind: 'allowed', asked: 1, found: 1 });
    expect(bitOf(mapOf(host, { features: { WBNOINVD: false } }), 'WBNOINVD')).toMatchObject({ asked: 0, found: 0 });
    expect(bitOf(mapOf(host), 'SSE2')).toMatchObject({ kind: 'native', asked: undefined, found: 1 });
  });

  it('marks what was requested and is not found', () => {
    const asked: TdConfig = { xfam: ['AVX'], features: { AVX512F: true } };
    const { register, bit } = registerOf(mapOf(profileHost('spr-1.5.06'), asked), 'AVX512F');
    expect((differingBits(register) >>> bit) & 1).toBe(1);
    expect(bitOf(mapOf(profileHost('spr-1.5.06'), asked), 'AVX512F')).toMatchObject({
      kind: 'xfam',
      reason: '0: XFAM lacks OPMASK, ZMM_HI256, HI16_ZMM',
    });
  });

  it('marks nothing that is not known or that the guest decides', () => {
    for (const host of [cpuidHostOfModule('1.5.06'), profileHost('spr-1.5.06')]) {
      for (const register of mapOf(host).flatMap(({ registers }) => registers)) {
        const { unknown, guest } = register.guest;
        expect(differingBits(register) & (unknown | guest)).toBe(0);
      }
    }
  });

  it('leaves open what a module without a host would be asked for by default', () => {
    const { requested } = registerOf(mapOf(cpuidHostOfModule('1.5.06')), 'WBNOINVD').register;
    expect(requested!.unknown).toBeGreaterThan(0);
    expect(requested!.unknown & ~requested!.mask).toBe(0);
  });

  it('says unknown where there are no rules for the module', () => {
    const { facts } = profileHost('spr-1.5.06');
    const map = mapOf({ name: 'a new module', facts: facts! });
    expect(bitOf(map, 'WBNOINVD').kind).toBe('configured');
    expect(bitOf(map, 'AVX2').kind).toBe('unknown');
  });

  it('keeps leaves apart that are zeros in any TD', () => {
    const map = mapOf(profileHost('spr-1.5.06'));
    const leaf = (number: number) => map.find((one) => one.leaf === number)!.registers.flatMap(kindsOf);
    expect(new Set(leaf(3))).toEqual(new Set(['absent']));
    expect(leaf(0x14)).not.toContain('absent');
  });
});

describe('the kinds of the map', () => {
  it('are those of the evaluation, and each has its own letter', () => {
    const ids = MAP_KINDS.map(({ id }) => id);
    for (const kind of [...BIT_KINDS, 'unknown'] as const) expect(ids).toContain(mapKindOf(kind));
    expect(new Set(MAP_KINDS.map(({ letter }) => letter)).size).toBe(MAP_KINDS.length);
  });
});
