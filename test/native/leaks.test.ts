import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { nativeStatus } from '../../src/native/index.js';

const library = new URL('../../dist/native/index.js', import.meta.url);
const script = fileURLToPath(new URL('leaks.mjs', import.meta.url));
const status = nativeStatus();
const built = existsSync(library);
if (status.available && !built) console.log('leak tests are skipped, dist/ is not built (npm run build)');

/** The address sanitizer keeps freed memory for a while; it looks for leaks in its own way. */
const sanitized = process.env['ASAN_OPTIONS'] !== undefined;

interface Held {
  descriptors: number;
  mappings: number;
  threads: number;
  /** MiB. */
  rss: number;
}

function repeat(name: string, count: number): { before: Held; after: Held; most: number; warnings: string[] } {
  const what = JSON.stringify({ library: library.href, what: [name, count] });
  const child = spawnSync(process.execPath, ['--expose-gc', script, what], { encoding: 'utf8', timeout: 120_000 });
  expect(child.status, child.stderr).toBe(0);
  return JSON.parse(child.stdout);
}

function expectNoGrowth({ before, after }: { before: Held; after: Held }): void {
  expect(after.descriptors).toBe(before.descriptors);
  expect(after.threads).toBe(before.threads);
  // The allocators of V8 and of the C library may keep a few more of theirs.
  expect(after.mappings - before.mappings).toBeLessThan(40);
  if (!sanitized) expect(after.rss - before.rss).toBeLessThan(30);
}

describe.skipIf(!status.available || !built)('what is held', { timeout: 150_000 }, () => {
  it.each([
    ['systems closed', 10_000],
    ['systems with a VM, memory and a vCPU, closed', 10_000],
    ['systems with a vCPU that ran, closed', 500],
    ['systems closed while a vCPU starts', 500],
    ['VMs of one system, closed', 1000],
  ] as const)('does not grow with %s', (name, count) => {
    const result = repeat(name, count);
    expectNoGrowth(result);
    expect(result.warnings).toEqual([]);
  });

  it.each([
    ['VMs of one system, forgotten', 1000],
    ['vCPUs that ran, forgotten', 300],
    ['systems, forgotten', 1000],
  ] as const)('does not grow with %s: the garbage collector closes them, and one warning says so', (name, count) => {
    const result = repeat(name, count);
    expectNoGrowth(result);
    expect(result.most).toBeLessThan(1000);
    expect(result.warnings).toEqual([expect.stringMatching(/^KvmWarning KVM_WARN_GC_CLOSE: A (Vm|System|Guest)/)]);
  });
});
