import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CPUID_FEATURES, findFeature } from '../../src/cpuid/names.js';
import { cpuidHostOfModule, diffCpuid, explainCpuid, parsePlace } from '../../src/cpuid/questions/index.js';
import { configurations, cpuidOnModel, PROFILES, profileHost } from './model.js';

const single = CPUID_FEATURES.filter(({ high, low }) => high === low).map(({ name }) => name);

describe('advice of explain', () => {
  it('that is followed gives the bit the promised value on the model', () => {
    let followed = 0;
    const named = fc.oneof(
      fc.constantFrom(...single),
      fc.constantFrom('AVX512F', 'AMX_TILE', 'WBNOINVD', 'PKU', 'AVX_VNNI'),
    );
    fc.assert(
      fc.property(fc.constantFrom(...PROFILES), named, configurations, (profile, name, config) => {
        const { leaf, subleaf, register, low } = findFeature(name)!;
        for (const { answer, value, config: changed } of explainCpuid(profileHost(profile), name, config).advice) {
          if (!changed) continue;
          expect(answer).not.toBe('no');
          const got = cpuidOnModel(profile, changed);
          expect(Array.isArray(got), `${name}: ${got}`).toBe(true);
          const entry = Array.isArray(got) && got.find((e) => e.function === leaf && e.index === subleaf);
          expect([name, value, entry && (entry[register] >>> low) & 1]).toEqual([name, value, value]);
          followed += Number(answer === 'change');
        }
      }),
      { numRuns: 60, seed: 5 },
    );
    expect(followed).toBeGreaterThan(10);
  });

  it('says which other bits move', () => {
    const { kind, advice } = explainCpuid(profileHost('spr-1.5.06'), 'avx512f', { xfam: ['AVX'] });
    expect(kind).toBe('xfam');
    expect(advice[0]).toMatchObject({ value: 1, answer: 'change' });
    expect(advice[0]!.changes).toContain('set XFAM AVX512');
    expect(advice[0]!.moves.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['AVX512BW', 'XCR0_OPMASK', 'XSAVE_SIZE_MAX']),
    );
    expect(advice[1]).toMatchObject({ value: 0, answer: 'so', changes: [] });
  });

  it('says what excludes a bit, and why there is no way', () => {
    const hle = explainCpuid(profileHost('spr-1.5.06'), '7.0.ebx[4]');
    expect(hle.place.name).toBe('HLE');
    expect(hle.rules.map(({ id }) => id)).toContain('module.mng-init.hle-rtm');
    expect(hle.advice[0]).toMatchObject({ value: 1, answer: 'no' });
    expect(hle.advice[0]!.why).toContain('kvm.init-vm.tsx-waitpkg');
    expect(explainCpuid(profileHost('spr-1.5.06'), 'SSE2').advice[1]).toMatchObject({
      answer: 'no',
      why: 'as the processor has it',
    });
  });

  it('sets bits together that the module wants together', () => {
    const { name: _, facts: __, ...rest } = profileHost('spr-1.5.06');
    const { advice } = explainCpuid({ name: 'the module on its processor', ...rest }, 'HLE', { cpuidBase: 'zero' });
    expect(advice[0]).toMatchObject({
      answer: 'change',
      changes: ['set HLE (CPUID(0x7).EBX[4])', 'set RTM (CPUID(0x7).EBX[11])'],
    });
  });
});

describe('a place', () => {
  it('is a feature, an alias or numbers', () => {
    const hle = { leaf: 7, subleaf: 0, register: 'ebx', high: 4, low: 4, name: 'HLE' };
    for (const text of ['HLE', 'hle', '7.0.ebx[4]', '0x7.0.EBX[4]', '7.ebx[4]']) expect(parsePlace(text)).toEqual(hle);
    expect(parsePlace('0x80000008.eax[7:0]')).toMatchObject({ name: 'MAXPA', high: 7, low: 0 });
  });

  it('that is none is refused with what was expected', () => {
    expect(() => parsePlace('AVX51F')).toThrow(
      "'AVX51F' names no bit of CPUID, expected a feature or a place such as 7.0.ebx[4]; did you mean AVX512F?",
    );
    expect(() => parsePlace('7.0.ebx[4:9]')).toThrow('expected bits from [31:0], the higher first');
  });
});

describe('diff', () => {
  it('of a host with itself is empty', () => {
    const host = profileHost('spr-1.5.06');
    expect(diffCpuid({ host }, { host })).toMatchObject({ bits: [], kinds: [] });
  });

  it('of two configurations names what differs for guests, with both reasons', () => {
    const host = profileHost('spr-1.5.06');
    const { bits } = diffCpuid({ host }, { host, config: { features: { WBNOINVD: false } } });
    expect(bits).toMatchObject([
      { name: 'WBNOINVD', from: { value: 1 }, to: { value: 0, reason: 'allowed, and not asked for' } },
    ]);
  });

  it('of two module versions says where a value comes about otherwise', () => {
    const { bits, kinds } = diffCpuid({ host: cpuidHostOfModule('1.5.01') }, { host: cpuidHostOfModule('1.5.06') });
    expect(bits.length + kinds.length).toBeGreaterThan(10);
    expect(bits.find(({ leaf, register, low }) => leaf === 7 && register === 'eax' && low === 0)).toBeUndefined();
    expect(kinds.some(({ from, to }) => from.kind !== to.kind)).toBe(true);
  });
});
