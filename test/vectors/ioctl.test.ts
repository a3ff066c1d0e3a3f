import { describe, expect, it } from 'vitest';
import { loadPlatform } from '../../src/mock/platforms.js';
import { runIoctl } from '../../src/vectors/ioctl.js';
import { readCases } from './read.js';

describe("the model's kernel answers KVM's TDX ioctls as Linux 6.16.1 over TDX module 1.5.05 does", () => {
  it.each([
    ['caps', 260],
    ['initvm', 3971],
    ['lifecycle', 692],
  ])('%s: all %i cases', (name, count) => {
    const cases = readCases(`ioctl/${name}.jsonl.gz`);
    expect(cases).toHaveLength(count);
    const failures: string[] = [];
    for (const testCase of cases) {
      const result = runIoctl(testCase, { platform: loadPlatform, moduleVersion: '1.5.05' });
      if (!('ok' in result) || !result.ok) failures.push(`${testCase.id} ${JSON.stringify(result)}`);
    }
    expect(failures.slice(0, 5)).toEqual([]);
    expect(failures).toHaveLength(0);
  });
});
