import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FUNCTIONS as EXACT } from '../../src/cpuid/expression/functions.js';
import { evaluateTd, type Host, loadRules, loadTdParams, sampleHost } from '../../src/cpuid/index.js';
import { isKnown } from '../../src/cpuid/partial/bits.js';
import { evaluatePartial } from '../../src/cpuid/partial/evaluate.js';
import { FUNCTIONS } from '../../src/cpuid/partial/functions.js';
import { type HostKnowledge, PartialHost } from '../../src/cpuid/partial/host.js';
import { knownParams } from '../../src/cpuid/partial/params.js';
import { loadPlatform } from '../../src/mock/platforms.js';
import { readCases } from '../vectors/read.js';

const VERSIONS = ['1.5.01', '1.5.05', '1.5.06'];

interface Case {
  profile: string;
  td_params: string;
  tdcx_pages: number;
}

const casesOf = (version: string): Case[] => readCases(`tdparams-${version}.jsonl.gz`);

function bytes({ td_params }: Case): Uint8Array {
  const params = new Uint8Array(1024);
  params.set(Buffer.from(td_params, 'hex'));
  return params;
}

const sampled = new Map<string, Host>();

/** What evaluateTd makes of it: the refusal's rule, and the registers. */
function exactly(version: string, test: Case) {
  const key = `${version} ${test.profile}`;
  const host = sampled.get(key) ?? sampleHost(loadRules(version), loadPlatform(test.profile));
  sampled.set(key, host);
  host.scope.virtual.fill(0);
  loadTdParams(host, bytes(test), test.tdcx_pages);
  return { rule: evaluateTd(host)?.rule, virtual: host.scope.virtual };
}

it('every function of the language can be evaluated in part', () => {
  expect(Object.keys(FUNCTIONS).sort()).toEqual(Object.keys(EXACT).sort());
});

describe.each(VERSIONS)('on module %s', (version) => {
  const cases = casesOf(version);

  it('what is known whole is evaluated as the module does, bit for bit', () => {
    const rules = loadRules(version);
    const hosts = new Map<string, PartialHost>();
    // One in eight: the vectors as such are held by the exact evaluation.
    for (const test of cases.filter((_, i) => i % 8 === 0)) {
      const host = hosts.get(test.profile) ?? new PartialHost(rules, loadPlatform(test.profile));
      hosts.set(test.profile, host);
      const exact = exactly(version, test);
      const { refusal, open, virtual } = evaluatePartial(host, knownParams(rules, bytes(test), test.tdcx_pages));
      expect([refusal?.rule, open]).toEqual([exact.rule, []]);
      if (exact.rule !== undefined) continue;
      expect(virtual.every(isKnown)).toBe(true);
      expect(Uint32Array.from(virtual, ({ value }) => Number(value))).toEqual(exact.virtual);
    }
    expect(cases.length).toBeGreaterThan(100);
  });

  it('what is known in part is never contradicted by the whole', () => {
    const rules = loadRules(version);
    let certain = 0;
    const hidden = fc.record({ cpuid: fc.boolean(), msr: fc.boolean(), sys: fc.boolean() });
    fc.assert(
      fc.property(
        fc.constantFrom(...cases),
        hidden,
        fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        (test, hide, xfam) => {
          const { cpuid, msr, sys } = loadPlatform(test.profile);
          const seen: HostKnowledge = {
            ...(!hide.cpuid && { cpuid }),
            ...(!hide.msr && { msr }),
            ...(!hide.sys && { sys }),
          };
          const params = knownParams(rules, bytes(test), test.tdcx_pages);
          const whole = params.fields.get('xfam')!.value;
          const fields = new Map(params.fields).set('xfam', { value: whole & ~xfam, unknown: xfam, guest: 0n });
          const { refusal, open, virtual } = evaluatePartial(new PartialHost(rules, seen), { ...params, fields });
          const exact = exactly(version, test);
          if (refusal && open.length === 0) expect(exact.rule).toBe(refusal.rule);
          if (refusal) expect(exact.rule).toBeDefined();
          if (refusal || exact.rule !== undefined) return;
          for (const [slot, { value, unknown }] of virtual.entries()) {
            const known = 0xffff_ffffn & ~unknown;
            certain += Number(known === 0xffff_ffffn);
            expect([slot, value]).toEqual([slot, BigInt(exact.virtual[slot]!) & known]);
          }
        },
      ),
      { numRuns: 300, seed: 1 },
    );
    expect(certain).toBeGreaterThan(1000);
  });
});
