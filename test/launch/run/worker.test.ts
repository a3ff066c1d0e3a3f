import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { describeOnKernel } from '../../contract/backends.js';

const CHILD = fileURLToPath(new URL('../children/run-in-worker.mjs', import.meta.url));

describeOnKernel('a run in a worker', () => {
  it('that is terminated leaves no thread and no descriptor to its process', async () => {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [CHILD], { timeout: 20_000 });
    expect(stderr).toBe('');
    const { before, after } = JSON.parse(stdout) as { before: number[]; after: number[] };
    expect(after).toEqual(before);
  });
});
