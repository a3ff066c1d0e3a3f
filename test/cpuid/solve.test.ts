import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { loadRules } from '../../src/cpuid/index.js';
import { findFeature } from '../../src/cpuid/names.js';
import { baselineCpuid, type CpuidHost, cpuidHostOfModule, solveCpuid } from '../../src/cpuid/questions/index.js';
import { loadPlatform } from '../../src/mock/platforms.js';
import { cpuidOnModel, PROFILES, profileHost } from './model.js';

const FEATURES = [
  'AVX512F',
  'AVX2',
  'AVX_VNNI',
  'AMX_TILE',
  'AMX_BF16',
  'PKU',
  'WBNOINVD',
  'HLE',
  'MONITOR',
  'LA57',
  'SSE2',
  'CET_SS',
  'BMI2',
  'PKS',
  'ARCH_LBR',
];

const bitOf = (profile: string, config: object, name: string): number => {
  const { leaf, subleaf, register, low } = findFeature(name)!;
  const got = cpuidOnModel(profile, config);
  if (!Array.isArray(got)) throw got;
  return (got.find((e) => e.function === leaf && e.index === subleaf)![register] >>> low) & 1;
};

describe('solve', () => {
  const wishes = fc.record({
    want: fc.uniqueArray(fc.constantFrom(...FEATURES), { maxLength: 3 }),
    avoid: fc.uniqueArray(fc.constantFrom(...FEATURES), { maxLength: 2 }),
  });

  it('gives a configuration with which the model grants every wish, or wishes of which one has to go', () => {
    let solved = 0;
    fc.assert(
      fc.property(fc.constantFrom(...PROFILES), wishes, (profile, { want, avoid }) => {
        const host = profileHost(profile);
        const answer = solveCpuid([host], { want, avoid });
        if (answer.solved) {
          solved++;
          for (const name of want) expect([name, bitOf(profile, answer.config, name)]).toEqual([name, 1]);
          for (const name of avoid) expect([name, bitOf(profile, answer.config, name)]).toEqual([name, 0]);
          return;
        }
        const { conflict } = answer;
        expect(answer.why).not.toBe('');
        expect(conflict.length).toBeGreaterThan(0);
        for (const left of conflict) {
          const rest = (list: string[], prefix: string) =>
            list.filter((name) => conflict.includes(prefix + name) && prefix + name !== left);
          expect(solveCpuid([host], { want: rest(want, ''), avoid: rest(avoid, 'not ') }).solved).toBe(true);
        }
      }),
      { numRuns: 60, seed: 7 },
    );
    expect(solved).toBeGreaterThan(10);
  });

  it('asks for nothing that the wishes do not need', () => {
    const answer = solveCpuid([profileHost('spr-1.5.06')], { want: ['AVX512F'], avoid: ['TSX'] });
    expect(answer).toMatchObject({
      solved: true,
      config: { cpuidBase: 'zero', xfam: ['AVX512'], features: { AVX512F: true } },
    });
  });

  it('names the wish that KVM refuses', () => {
    const answer = solveCpuid([profileHost('spr-1.5.06')], { want: ['AVX512F', 'HLE'], migratable: true });
    expect(answer).toMatchObject({ solved: false });
    expect(answer.solved || answer.conflict).toHaveLength(1);
    expect(solveCpuid([profileHost('spr-1.5.06')], { migratable: true })).toMatchObject({
      solved: false,
      conflict: ['migratable'],
      why: expect.stringContaining('kvm.init-vm.attributes-supported'),
    });
  });

  it('asks the module itself where there is no KVM between', () => {
    const host: CpuidHost = { name: 'SPR', rules: loadRules('1.5.06'), platform: loadPlatform('spr') };
    const answer = solveCpuid([host], { want: ['AVX512F', 'TSX'], migratable: true });
    expect(answer).toMatchObject({ solved: true, config: { features: { AVX512F: true, HLE: true, RTM: true } } });
    const both = solveCpuid([host], { want: ['PERFMON'], migratable: true });
    expect(both).toMatchObject({
      solved: false,
      conflict: ['PERFMON', 'migratable'],
      why: expect.stringContaining('migratable-exclusions'),
    });
  });

  it('for every host needs the same CPUID on all of them, or says what differs', () => {
    const hosts = ['spr-1.5.06', 'spr_lass-1.5.06'].map(profileHost);
    const answer = solveCpuid(hosts, { want: ['AVX2'], sameEverywhere: true });
    const unlike = solveCpuid(['spr-1.5.06', 'gnr-1.5.06'].map(profileHost), { sameEverywhere: true });
    expect(unlike).toMatchObject({ solved: false, conflict: ['same on every host'] });
    if (!answer.solved) expect(answer.why).toContain('differs between');
  });
});

describe('a baseline', () => {
  const groups = [
    PROFILES,
    PROFILES.filter((name) => name.startsWith('spr')),
    ['spr-1.5.06'],
    ['spr-1.5.06', 'gnr-1.5.06'],
  ];

  it.each(groups.map((names) => [names.join(', '), names] as const))(
    'of %s is accepted by all, and guests find the same but for what it says',
    (_, names) => {
      const { config, same, differences, hosts } = baselineCpuid(names.map(profileHost));
      expect(hosts.map(({ accepted }) => accepted)).toEqual(names.map(() => true));
      const [first, ...rest] = names.map((name) => cpuidOnModel(name, config));
      if (!Array.isArray(first)) throw first;
      for (const [n, other] of rest.entries()) {
        if (!Array.isArray(other)) throw other;
        for (const entry of first) {
          const twin = other.find((e) => e.function === entry.function && e.index === entry.index);
          for (const register of ['eax', 'ebx', 'ecx', 'edx'] as const) {
            let differ = twin ? (entry[register] ^ twin[register]) >>> 0 : 0;
            for (const { leaf, subleaf, register: r, high, low, hosts } of differences) {
              const here = leaf === entry.function && subleaf === entry.index && r === register;
              if (here && hosts.includes(profileHost(names[n + 1]!).name))
                differ = (differ & ~((2 ** (high - low + 1) - 1) * 2 ** low)) >>> 0;
            }
            expect([names[n + 1], entry.function, entry.index, register, differ]).toEqual([
              names[n + 1],
              entry.function,
              entry.index,
              register,
              0,
            ]);
          }
        }
      }
      expect(same).toBe(differences.length === 0);
    },
  );

  it('says what each host loses', () => {
    const { hosts } = baselineCpuid([profileHost('spr-1.5.06'), cutHost()]);
    expect(hosts[0]!.loses.bits.map(({ names }) => names).join()).toContain('WBNOINVD');
    expect(hosts[1]!.loses.bits).toEqual([]);
  });

  /** Sapphire Rapids without WBNOINVD. */
  function cutHost(): CpuidHost {
    const { facts, rules, platform } = profileHost('spr-1.5.06');
    const cut = <T extends { function: number; ebx: number }>(rows: readonly T[]): T[] =>
      rows.map((row) => (row.function === 0x8000_0008 ? { ...row, ebx: row.ebx & ~0x200 } : row));
    const { capabilities, supportedCpuid } = facts!;
    return {
      name: 'cut',
      rules: rules!,
      platform: platform!,
      facts: {
        ...facts!,
        capabilities: { ...capabilities, cpuid: cut(capabilities.cpuid) },
        supportedCpuid: cut(supportedCpuid),
      },
    };
  }

  it('of hosts of which only the module is known can be asked for', () => {
    expect(() => baselineCpuid([cpuidHostOfModule('1.5.05'), cpuidHostOfModule('1.5.06')])).not.toThrow();
    expect(() => baselineCpuid([])).toThrow('a baseline needs one host at least');
  });
});
