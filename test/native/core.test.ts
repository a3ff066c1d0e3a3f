// Runs the tests of native/core: C++, on a fake kernel, under the address and undefined-behaviour sanitizers.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { compile, compilers, root } from './compile.js';

const files = [
  ...readdirSync(join(root, 'native/core'))
    .filter((name) => name.endsWith('.cc') && name !== 'sys.cc')
    .map((name) => `core/${name}`),
  ...['fake_kernel', 'tdx_test', 'vm_test', 'run_test'].map((name) => `test/${name}.cc`),
];

const sanitized = ['-fsanitize=address,undefined', '-fno-sanitize-recover=undefined'];

describe.skipIf(compilers === undefined)('native/core on a fake kernel', () => {
  it('passes its own tests', { timeout: 180_000 }, () => {
    const run = spawnSync(compile('core', files, sanitized), {
      encoding: 'utf8',
      timeout: 60_000,
      env: { ...process.env, LD_PRELOAD: '', ASAN_OPTIONS: 'detect_leaks=1' },
    });
    const output = run.stdout + run.stderr;
    expect(run.stdout, output).toMatch(/\d\d cases, 0 failed\n$/);
    expect(run.status, output).toBe(0);
  });
});
