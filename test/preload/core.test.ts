// Runs the tests of native/preload: C++, without a model, under the address and undefined-behaviour sanitizers.
import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { compilers, preloadTests } from './build.js';

describe.skipIf(compilers === undefined)('native/preload', () => {
  it('passes its own tests', { timeout: 180_000 }, () => {
    const run = spawnSync(preloadTests(), {
      encoding: 'utf8',
      timeout: 60_000,
      env: { ...process.env, LD_PRELOAD: '', ASAN_OPTIONS: 'detect_leaks=1' },
    });
    const output = run.stdout + run.stderr;
    expect(run.stdout, output).toMatch(/\d\d cases, 0 failed\n$/);
    expect(run.status, output).toBe(0);
  });
});
