import { describe, expect, it } from 'vitest';
import { loadPlatform } from '../../src/mock/platforms.js';
import { runTdParams } from '../../src/vectors/tdparams.js';
import { readCases } from './read.js';

describe("TDH.MNG.INIT answers as Intel's module does", () => {
  it.each([
    ['1.5.01', 6562],
    ['1.5.05', 10164],
    ['1.5.06', 11841],
  ])('%s: all %i cases, with status, RCX, TDCS fields, CPUID rows and digests', (moduleVersion, count) => {
    const cases = readCases(`tdparams-${moduleVersion}.jsonl.gz`);
    expect(cases).toHaveLength(count);
    const failures: string[] = [];
    for (const testCase of cases) {
      const result = runTdParams(testCase, { platform: loadPlatform, moduleVersion });
      if (!('ok' in result) || !result.ok) failures.push(`${testCase.id} ${JSON.stringify(result)}`);
    }
    expect(failures.slice(0, 5)).toEqual([]);
    expect(failures).toHaveLength(0);
  });
});
