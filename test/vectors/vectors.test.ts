import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { loadPlatform } from '../../src/mock/platforms.js';
import { runFile } from '../../src/vectors/run-file.js';

const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

describe("Results of Intel's module and of the kernel's code (README.md) are ours, whole", () => {
  it.each([
    ['tdparams-1.5.01.jsonl.gz', 6562],
    ['tdparams-1.5.05.jsonl.gz', 10164],
    ['tdparams-1.5.06.jsonl.gz', 11841],
    ['guest_cpuid-1.5.01.jsonl.gz', 64],
    ['guest_cpuid-1.5.05.jsonl.gz', 69],
    ['guest_cpuid-1.5.06.jsonl.gz', 94],
    ['lifecycle-1.5.01.jsonl.gz', 454],
    ['lifecycle-1.5.05.jsonl.gz', 454],
    ['lifecycle-1.5.06.jsonl.gz', 461],
    ['mrtd.jsonl.gz', 49],
    ['ioctl/caps.jsonl.gz', 260],
    ['ioctl/initvm.jsonl.gz', 3971],
    ['ioctl/lifecycle.jsonl.gz', 692],
  ])('%s: all %i cases', async (name, count) => {
    const { passed, failed, skipped, differences } = await runFile(path(name), loadPlatform);
    expect(differences).toEqual([]);
    expect({ passed, failed, skipped: skipped.size }).toEqual({ passed: count, failed: 0, skipped: 0 });
  });
});
