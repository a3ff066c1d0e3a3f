import { describe, expect, it } from 'vitest';
import type { LearntDocument, LearntKind } from '../../src/learn/index.js';
import { LearntModel, learnCpuid } from '../../src/learn/index.js';
import { loadProfile, type Profile, type ProfileDocument } from '../../src/mock/index.js';
import { dependenciesOf, inputsNamedBy } from './dependencies.js';
import { capabilitiesOf, generousProfile, leftovers, NOTHING_LEFT, openHost, usableProfiles } from './hosts.js';
import { Inputs, Truth, type TruthInput } from './truth.js';

const AIM = 300;
const REGISTERS = ['eax', 'ebx', 'ecx', 'edx'] as const;

interface Case {
  name: string;
  profile: string | ProfileDocument;
}

// MIGRATABLE and DEBUG exclude each other, and so on: what the module offers, and Linux 6.16 does not.
const ATTRIBUTES = 0x8000_0000_7001_0001n;
const cases: Case[] = [
  ...usableProfiles().map((name) => ({ name, profile: name })),
  {
    name: 'spr-1.5.06 under a kernel that offers all attributes and XFAM',
    profile: generousProfile('spr-1.5.06', ATTRIBUTES, 0x6dbe7n),
  },
  {
    name: 'spr_lass-1.5.06 under a kernel that offers LASS and all XFAM',
    profile: generousProfile('spr_lass-1.5.06', ATTRIBUTES | (1n << 27n), 0x6dbe7n),
  },
  {
    name: 'gnr-1.5.06 under a kernel that offers performance monitoring',
    profile: generousProfile('gnr-1.5.06', 0x8000_0000_5000_0000n, 0x6dbe7n),
  },
];

describe.each(cases)('what is learnt from $name', ({ profile }) => {
  const learnt = (async () => {
    using system = openHost(profile);
    const capabilities = capabilitiesOf(system);
    const result = await learnCpuid(system);
    const loaded: Profile = loadProfile(profile);
    return { result, truth: new Truth(loaded, capabilities), left: leftovers(system) };
  })();
  const document = async (): Promise<LearntDocument> => (await learnt).result.document!;

  it(`takes fewer than ${AIM} TDs and leaves nothing behind`, async () => {
    const { result, left } = await learnt;
    expect(result.stopped).toBeUndefined();
    expect(result.tds).toBeLessThan(AIM);
    expect(result.document!.experiments.accepted + result.document!.experiments.refused).toBe(result.tds);
    expect(left).toEqual(NOTHING_LEFT);
  });

  it('shows every leaf that the module lets the host read', async () => {
    const { truth } = await learnt;
    const places = (await document()).cpuid.map(
      ({ leaf, subleaf }) => `${Number(leaf)}.${subleaf ? Number(subleaf) : '-'}`,
    );
    const expected = truth.places.map(({ leaf, subleaf }) => `${leaf}.${subleaf ?? '-'}`);
    expect(places.sort()).toEqual(expected.sort());
  });

  it('has a rule, and only one, for each bit', async () => {
    for (const { leaf, rules } of (await document()).cpuid)
      for (const register of REGISTERS) {
        const masks = rules.map(({ bits }) => BigInt(bits[register] ?? 0));
        expect(
          masks.reduce((sum, mask) => sum + mask, 0n),
          `${leaf} ${register}`,
        ).toBe(0xffff_ffffn);
        expect(
          masks.reduce((sum, mask) => sum | mask, 0n),
          `${leaf} ${register}`,
        ).toBe(0xffff_ffffn);
      }
  });

  it('predicts every bit of TDs that were never made', async () => {
    const { truth } = await learnt;
    const model = new LearntModel(await document());
    const inputs = new Inputs(truth);
    for (let n = 0; n < 400; n++) expectPrediction(model, truth, inputs.next());
    for (const xfam of truth.acceptedSets('xfam')) expectPrediction(model, truth, inputs.next({ xfam }));
  });

  it('leaves unknown only what no topology can set', async () => {
    for (const { leaf, rules } of (await document()).cpuid)
      for (const { kind } of rules) {
        expect(kind).not.toBe('unknown');
        if (kind === 'untried') expect(leaf).toBe('0x1f');
      }
  });

  it('knows which XFAM bits and which attributes go together', async () => {
    const { truth } = await learnt;
    const { settings, exclusions } = await document();
    for (const field of ['xfam', 'attributes'] as const) {
      const { groups } = settings[field];
      const holds = (set: bigint, bits: readonly number[]) => bits.every((bit) => (set >> BigInt(bit)) & 1n);
      const some = (set: bigint, bits: readonly number[]) => bits.some((bit) => (set >> BigInt(bit)) & 1n);
      const excluded = exclusions
        .filter(({ all }) => all.every((text) => text.startsWith(`${field}[`)))
        .map(({ all }) => all.map((text) => Number(/\d+/.exec(text)![0])));
      const offered = groups.flatMap(({ bits }) => bits);
      const predicted = Array.from({ length: 2 ** offered.length }, (_, n) =>
        offered.reduce((set, bit, i) => ((n >> i) & 1 ? set | (1n << BigInt(bit)) : set), 0n),
      ).filter(
        (set) =>
          groups.every(({ bits, needs }) => !some(set, bits) || holds(set, [...bits, ...(needs ?? [])])) &&
          !excluded.some((pair) => holds(set, pair)),
      );
      const sorted = (sets: readonly bigint[]) => sets.map((set) => set.toString(16)).sort();
      expect(sorted(predicted), field).toEqual(sorted(truth.acceptedSets(field)));
    }
  });

  it('says of each bit what it depends on, no more and no less, and calls it what it is', async () => {
    const { truth } = await learnt;
    const { bits, inputs } = dependenciesOf(truth);
    const wrong: string[] = [];
    for (const { leaf, subleaf, rules } of (await document()).cpuid) {
      // Level types of a topology cannot be changed one by one: predictions cover them.
      if (leaf === '0x1f' || leaf === '0xb') continue;
      const place = truth.places.findIndex((p) => p.leaf === Number(leaf) && (p.subleaf ?? 0) === Number(subleaf ?? 0));
      const row = truth.capabilities.cpuid.findIndex(
        (e) => e.function === Number(leaf) && e.index === Number(subleaf ?? 0),
      );
      for (const rule of rules)
        REGISTERS.forEach((register, r) => {
          const mask = Number(rule.bits[register] ?? 0);
          for (let bit = 0; bit < 32; bit++) {
            if (!((mask >>> bit) & 1)) continue;
            const found = bits[(place * 4 + r) * 32 + bit]!;
            const own = row >= 0 && (truth.mask(row, r) >>> bit) & 1 ? `config ${row * 4 + r} ${bit}` : undefined;
            const depends = [...found.depends].map((n) => inputs[n]!).sort();
            const expected = inputsNamedBy(rule, own, truth, bit);
            const where = `${leaf}.${subleaf ?? '-'}.${register}[${bit}]`;
            // A formula is of a whole register, some bits of which never change.
            const formula = rule.formula !== undefined && depends.every((input) => input.startsWith('xfam'));
            if (!formula && depends.join() !== expected.join())
              wrong.push(`${where}: learnt ${rule.kind} of ${expected}, depends on ${depends}`);
            const kind = kindOf(depends, own, found.value, Number(leaf) === 1 && r === 0 && own !== undefined);
            const same = kind === rule.kind || (kind === 'not-native' && rule.kind === 'no-effect');
            if (!formula && !same) wrong.push(`${where}: learnt ${rule.kind}, is ${kind}`);
          }
        });
    }
    expect(wrong).toEqual([]);
  });
});

/** What a bit is to be called, of what it was seen to depend on. */
function kindOf(depends: readonly string[], own: string | undefined, value: number, oneValueOnly: boolean): LearntKind {
  if (oneValueOnly) return 'host-value';
  if (depends.length === 0) {
    if (own) return value ? 'no-effect' : 'not-native';
    return value ? 'fixed1' : 'fixed0';
  }
  if (own && depends.includes(own)) return 'configured';
  if (depends.every((input) => input.startsWith('xfam'))) return 'xfam';
  if (depends.every((input) => input.startsWith('attributes'))) return 'attribute';
  return 'calculated';
}

function expectPrediction(model: LearntModel, truth: Truth, input: TruthInput): void {
  const shown = truth.show(input);
  expect(shown, 'the host accepts it').toBeDefined();
  const { attributes, xfam, gpaw, tsc, maxVcpus } = input;
  const rows = model.cpuid({ attributes, xfam, gpaw, tscKhz: tsc * 25_000, maxVcpus, cpuid: truth.entries(input) });
  truth.places.forEach(({ leaf, subleaf }, i) => {
    const row = rows.find((r) => r.leaf === leaf && r.subleaf === subleaf)!;
    row.values.forEach((value, r) => {
      const known = row.known[r]!;
      if ((value ^ (shown![i * 4 + r]! & known)) >>> 0 !== 0)
        expect.fail(
          `${leaf.toString(16)}.${subleaf}.${REGISTERS[r]}: ${value} instead of ${shown![i * 4 + r]! & known}`,
        );
    });
  });
}
