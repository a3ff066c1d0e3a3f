import { describe, expect, it } from 'vitest';
import { loadPlatform } from '../../src/mock/platforms.js';
import { runMrtdOnModule } from '../../src/vectors/mrtd-module.js';
import { readCases } from '../vectors/read.js';

describe("A TD built with SEAMCALLs has the MRTD that Intel's module computes", () => {
  it.each(['1.5.01', '1.5.05', '1.5.06'])('%s: all 49 cases, with OP_STATE and every refused call', (moduleVersion) => {
    const cases = readCases('mrtd.jsonl.gz');
    expect(cases).toHaveLength(49);
    const failures = cases
      .map((testCase) => ({ testCase, result: runMrtdOnModule(testCase, { platform: loadPlatform, moduleVersion }) }))
      .filter(({ result }) => !('ok' in result && result.ok))
      .map(({ testCase, result }) => `${testCase.id} ${testCase.name}: ${JSON.stringify(result)}`);
    expect(failures).toEqual([]);
  });
});
