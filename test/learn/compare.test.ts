import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { bundledVersions, compileRules, loadRules, type RulesDocument, sampleHost } from '../../src/cpuid/index.js';
import { compareLearnt, countKinds, type LearntDocument, learnCpuid } from '../../src/learn/index.js';
import { loadProfile } from '../../src/mock/index.js';
import { violation } from '../cpuid/json-schema.js';
import { openHost, usableProfiles } from './hosts.js';

const documents = new Map<string, Promise<LearntDocument>>();
function learntFrom(profile: string): Promise<LearntDocument> {
  const learn = async () => {
    using system = openHost(profile);
    return (await learnCpuid(system, { module: loadProfile(profile).module.version! })).document!;
  };
  const found = documents.get(profile) ?? learn();
  documents.set(profile, found);
  return found;
}

const SCHEMA = JSON.parse(readFileSync(new URL('../../schema/learnt-rules.schema.json', import.meta.url), 'utf8'));

describe.each(usableProfiles())('rules learnt from %s', (profile) => {
  it('are valid by their schema', async () => {
    expect(violation(SCHEMA, JSON.parse(JSON.stringify(await learntFrom(profile))))).toBeUndefined();
  });

  it('do not contradict the rules of their own version, whether or not the processor is known', async () => {
    const rules = loadRules(loadProfile(profile).module.version!);
    const learnt = await learntFrom(profile);
    expect(compareLearnt(learnt, rules)).toEqual([]);
    expect(compareLearnt(learnt, sampleHost(rules, loadProfile(profile).platform as never))).toEqual([]);
  });

  it('contradict every other bundled version that differs in what can be seen', async () => {
    const learnt = await learntFrom(profile);
    for (const version of bundledVersions().filter((v) => v !== learnt.module))
      expect(compareLearnt(learnt, loadRules(version)), version).not.toEqual([]);
  });

  it('count each bit once', async () => {
    const learnt = await learntFrom(profile);
    const sum = Object.values(countKinds(learnt)).reduce((total, n) => total + n, 0);
    expect(sum).toBe(learnt.cpuid.length * 128);
  });
});

it.each([2, 3, 7])('the random settings of seed %i lead to the same rules', async (seed) => {
  using system = openHost('spr-1.5.05');
  const { document, tds } = await learnCpuid(system, { seed });
  expect(tds).toBeLessThan(300);
  const host = sampleHost(loadRules('1.5.05'), loadProfile('spr-1.5.05').platform as never);
  expect(compareLearnt(document!, host)).toEqual([]);
});

describe('a rules document that is wrong', () => {
  const PROFILE = 'spr-1.5.06';
  const mistaken = async (change: (document: RulesDocument) => void) => {
    const document = structuredClone(loadRules('1.5.06').document);
    change(document);
    return compareLearnt(await learntFrom(PROFILE), compileRules(document));
  };
  const entry = (document: RulesDocument, leaf: string, subleaf?: string) =>
    document.cpuid.find((e) => e.leaf === leaf && e.subleaf === subleaf)!;

  it('about a bit that it has at 0', async () => {
    const found = await mistaken((document) => {
      entry(document, '0x80000007').zero = { edx: '0xffffffff' };
    });
    expect(found).toEqual([
      expect.objectContaining({
        place: '0x80000007',
        register: 'edx',
        bits: 0x100,
        learnt: 'fixed1',
        document: 'fixed 0',
      }),
    ]);
  });

  it('about the XFAM that a bit follows', async () => {
    const found = await mistaken((document) => {
      entry(document, '0x7', '0x1').xfam = { '2': { eax: '0x800030', edx: '0x430' } };
    });
    expect(found).toEqual([
      {
        place: '7.1',
        register: 'eax',
        bits: 0x20,
        learnt: 'configured: xfam[5] && xfam[6] && xfam[7]',
        document: 'allowed, 0 unless xfam[2]',
        example: expect.anything(),
      },
    ]);
  });

  it('about what may be configured', async () => {
    const found = await mistaken((document) => {
      const leaf = entry(document, '0x1');
      leaf.allowed = { ecx: '0x31044d80', edx: '0xb8440000' };
    });
    expect(found).toContainEqual(
      expect.objectContaining({ place: '1', register: 'ecx', bits: 8, learnt: 'configurable', document: 'native' }),
    );
  });

  it('about TDs that it refuses', async () => {
    const found = await mistaken((document) => {
      document.init.push({ rule: 'module.mng-init.attributes', require: '!attributes.SEPT_VE_DISABLE' });
    });
    expect(found).toEqual([
      { place: 'TD', learnt: 'such TDs are accepted', document: 'refused by module.mng-init.attributes' },
    ]);
  });

  it('about a leaf', async () => {
    const found = await mistaken((document) => {
      entry(document, '0x1e').faulting = true;
    });
    expect(found).toContainEqual({ place: '0x1e', learnt: 'TDs show this leaf', document: 'not readable' });
  });
});
