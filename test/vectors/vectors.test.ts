import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { loadPlatform } from '../../src/mock/platforms.js';
import { runFile } from '../../src/vectors/run-file.js';

const folder = fileURLToPath(new URL('.', import.meta.url));
const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.jsonl.gz'));

describe("results of Intel's module and of the kernel's code (README.md)", () => {
  it.each(files.sort())('%s passes whole', async (name) => {
    const result = await runFile(join(folder, name), loadPlatform);
    expect(result.differences).toEqual([]);
    expect(result.failed).toBe(0);
    expect(result.passed).toBeGreaterThan(0);
  });
});
