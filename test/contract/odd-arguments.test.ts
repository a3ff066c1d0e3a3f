import { describe, expect, it } from 'vitest';
import { runChild } from '../native/child.js';
import { describeOnKernel, kernel } from './backends.js';

const RUNS = '15000';
const SEED = '20250722';

describe('any argument, to any method, on any object', () => {
  const which = kernel.absent === undefined ? 'the model and the kernel, which refuse alike' : 'the model';
  it(`is answered or refused with an error of ours, by ${which}`, async () => {
    const program = 'contract/children/odd-arguments.mjs';
    const ended = await runChild(program, [SEED, RUNS, ...(kernel.absent === undefined ? [] : ['model'])]);
    expect(ended).toMatchObject({ code: 0, signal: null, stderr: '' });
    const { calls, refused, done, kernel: asked } = JSON.parse(ended.stdout);
    expect(calls).toBeGreaterThan(10_000);
    expect(Math.min(refused, done, asked)).toBeGreaterThan(1000);
  });
});

describeOnKernel('any argument, to any function of the addon, on any object', () => {
  it('is answered or refused with an error of ours', async () => {
    const ended = await runChild('native/children/odd-handles.mjs', [SEED, RUNS]);
    expect(ended).toMatchObject({ code: 0, signal: null, stderr: '' });
    const { done, refused } = JSON.parse(ended.stdout);
    expect(Math.min(done, refused)).toBeGreaterThan(1000);
  });
});
