import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bundledVersions, compileRules, loadRules, type RulesDocument, sampleHost } from '../../src/cpuid/index.js';
import { RULES } from '../../src/rulebook/index.js';
import { violation } from './json-schema.js';

const root = new URL('../../', import.meta.url);
const read = (path: string): unknown => JSON.parse(readFileSync(new URL(path, root), 'utf8'));
const schema = read('schema/rules.schema.json') as Record<string, unknown>;
const document = (version: string): RulesDocument => read(`rules/${version}.json`) as RulesDocument;

describe.each(bundledVersions())('the rules document of %s', (version) => {
  it('follows the published schema', () => {
    expect(violation(schema, document(version))).toBeUndefined();
  });

  it('cites rulebook entries only', () => {
    const { boot, init, cpuid } = document(version);
    const steps = [
      ...boot.flatMap((b) => b.steps),
      ...init,
      ...cpuid.flatMap((e) => [...(e.boot ?? []), ...(e.checks ?? [])]),
    ];
    const cited = steps.flatMap((step) => ('rule' in step ? [step.rule] : []));
    expect(cited.filter((id) => !(id in RULES))).toEqual([]);
    expect(cited.length).toBeGreaterThan(60);
  });

  it('gives every bit of a register one origin at most', () => {
    for (const { leaf, subleaf, zero, one, configured, allowed } of loadRules(version).entries) {
      for (let r = 0; r < 4; r++) {
        const kinds = [one[r]!, configured[r]!, allowed[r]!];
        const shared = kinds.some((a, i) => kinds.some((b, j) => i !== j && (a & b) !== 0));
        expect([leaf, subleaf, r, shared, zero[r]! & one[r]!]).toEqual([leaf, subleaf, r, false, 0]);
      }
    }
  });

  it('requires of the processor only what it says it must be', () => {
    for (const { id, verifyMask, verifyValue } of loadRules(version).entries) {
      for (const [r, value] of verifyValue.entries()) {
        expect([id, r, (value & ~verifyMask[r]!) >>> 0]).toEqual([id, r, 0]);
      }
    }
  });

  it('can be evaluated on any processor and firmware, even on none', () => {
    const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
    const row = fc.record({
      leaf: fc.oneof(fc.integer({ min: 0, max: 0x24 }), fc.constantFrom(0x8000_0000, 0x8000_0001, 0x8000_0008)),
      subleaf: fc.option(fc.integer({ min: 0, max: 20 })),
      eax: u32,
      ebx: u32,
      ecx: u32,
      edx: u32,
    });
    const hex = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((v) => `0x${v.toString(16)}`);
    const facts = fc.record({
      cpuid: fc.array(row, { maxLength: 60 }),
      msr: fc.dictionary(fc.constantFrom('0x10a', '0x87', '0x982', '0x48c', '0x122'), hex),
      sys: fc.record({ socket_fms: fc.array(hex, { maxLength: 3 }), seamops_caps: hex }),
    });
    expect(() => sampleHost(loadRules(version), { cpuid: [] })).not.toThrow();
    fc.assert(
      fc.property(facts, (f) => {
        const host = sampleHost(loadRules(version), f);
        for (const { code } of host.rules.sysInfo) expect(code.wide(host.scope)).toBeGreaterThanOrEqual(0n);
      }),
      { numRuns: 50 },
    );
  });
});

describe('a bundled rules document', () => {
  it.each(bundledVersions())('%s compiles whole, which loadRules() relies on', (version) => {
    expect(compileRules(document(version)).module).toBe(version);
  });
});

describe('a rules document that is wrong', () => {
  const broken = (change: (d: RulesDocument) => void): (() => unknown) => {
    const wrong = structuredClone(document('1.5.06'));
    change(wrong);
    return () => compileRules(wrong);
  };

  it('is refused with the place and the reason', () => {
    expect(broken((d) => (d.host['MAXPA'] = 'native(0x99.eax)'))).toThrow(
      'host.MAXPA: CPUID leaf 0x99 is not in the document',
    );
    expect(broken((d) => (d.init[1] = { rule: 'x', require: 'attributes &' }))).toThrow(
      "init[1]: 'attributes &': expected a value at 12, found the end",
    );
    expect(broken((d) => (d.cpuid[1]!.set = { 'esx[1]': '0' }))).toThrow(
      "cpuid 0x1: 'esx[1]' is not a field such as eax[15:8]",
    );
    expect(broken((d) => (d.cpuid[1]!.zero = { eax: 'many' }))).toThrow(
      "cpuid 0x1.eax: expected a hexadecimal number, found 'many'",
    );
  });

  it('does not follow the schema', () => {
    const wrong = { ...document('1.5.06'), extra: 1 };
    expect(violation(schema, wrong)).toBe('$.extra: not allowed');
    const { known: _, ...incomplete } = document('1.5.06');
    expect(violation(schema, incomplete)).toBe('$: known is missing');
  });

  it('of an unknown module is not there, and those that are there are named', () => {
    expect(() => loadRules('1.4.0')).toThrow(
      'No rules for TDX module 1.4.0; there are rules for 1.5.01, 1.5.05, 1.5.06, 1.5.25',
    );
  });
});
