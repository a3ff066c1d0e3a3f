import { describe, expect, it } from 'vitest';
import { runMrtdOffline } from '../../src/vectors/mrtd.js';
import { readCases } from './read.js';

const cases = readCases('mrtd.jsonl.gz');

describe('A measurement vector, offline', () => {
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
