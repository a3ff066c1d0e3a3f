import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { runMrtdOffline } from '../../src/vectors/mrtd.js';

const file = new URL('../vectors/mrtd.jsonl.gz', import.meta.url);
const lines = gunzipSync(readFileSync(file)).toString().trimEnd().split('\n');
const cases = lines.map((line) => JSON.parse(line) as { id: number; name: string; expect: { mrtd: string } });

describe("MRTD as Intel's TDX module computes it", () => {
  it('has all 49 cases of the vectors', () => {
    expect(cases).toHaveLength(49);
  });

  it.each(cases.map((testCase) => [testCase.id, testCase.name, testCase] as const))(
    '%i: %s',
    (_id, _name, testCase) => {
      expect(runMrtdOffline(testCase)).toEqual({ ok: true });
    },
  );

  it('tells a difference in the measurement', () => {
    const testCase = { ...cases[3]!, expect: { mrtd: '00' } };
    expect(runMrtdOffline(testCase)).toEqual({
      ok: false,
      difference: expect.stringMatching(/^mrtd: got .* expected 00$/),
    });
  });

  it('tells a difference in which operations the module refuses', () => {
    const { mrtd } = cases[29]!.expect;
    const outcome = runMrtdOffline({ ...cases[29]!, expect: { mrtd } });
    expect(outcome).toEqual({
      ok: false,
      difference: expect.stringContaining('refused operations: got add 0x800000000000'),
    });
  });

  it('skips, and says so, what it does not know', () => {
    const testCase = { ops: [{ op: 'relocate', gpa: '0x1000' }], expect: { mrtd: '' } };
    expect(runMrtdOffline(testCase)).toEqual({ skip: 'operation relocate is not known' });
  });
});
