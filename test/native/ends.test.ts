import { expect, it } from 'vitest';
import { describeOnKernel } from '../contract/backends.js';
import { type Ended, runChild } from './child.js';

const STAGES = ['opened', 'vm', 'vcpu', 'running', 'mid-exit', 'closed'];

/** Much more than it takes, much less than for ever. */
const SOON = 10_000;

/** For the leak sanitizer: process.exit() frees nothing of V8's, by design. */
const LEAVES = { ASAN_OPTIONS: `${process.env['ASAN_OPTIONS'] ?? ''}:detect_leaks=0` };

const endAt = (stage: string, end: string): Promise<Ended> =>
  runChild('native/children/ends-at.mjs', [stage, end], [], () => {}, LEAVES);

const outcome = ({ code, signal }: Ended) => signal ?? code;

describeOnKernel('a process ends at every stage of the backend’s life', () => {
  it.each([
    ['by itself', 0],
    ['process.exit', 7],
    ['throw', 1],
    ['unhandled rejection', 1],
    ['SIGTERM', 'SIGTERM'],
    ['close in an exit handler', 7],
    ['use in an exit handler', 7],
  ])('%s: %s', async (end, expected) => {
    const endings = await Promise.all(STAGES.map((stage) => endAt(stage, end)));
    const seen = endings.map((ended, i) => [STAGES[i], outcome(ended), ended.stderr]);
    const complaint = expected === 1 ? expect.stringContaining('on purpose') : '';
    expect(seen).toEqual(STAGES.map((stage) => [stage, expected, complaint]));
    expect(Math.max(...endings.map(({ milliseconds }) => milliseconds))).toBeLessThan(SOON);
  });
});

describeOnKernel('a worker ends at every stage, again and again, and leaves nothing to its process', () => {
  it.each([
    ['terminate', 1],
    ['by itself', 0],
    ['process.exit', 7],
    ['throw', 1],
  ])('%s: %i', async (end, expected) => {
    const ended = await runChild('native/children/workers.mjs', [end]);
    expect([outcome(ended), ended.stderr]).toEqual([0, '']);
    expect(JSON.parse(ended.stdout)).toEqual({
      codes: Object.fromEntries(STAGES.map((stage) => [stage, [expected, expected]])),
      descriptors: 0,
      threads: 0,
      mineRuns: true,
    });
  });
});

describeOnKernel('INTR', () => {
  it('a process that is stopped and continued gets the exit, and runs on', async () => {
    const ended = await runChild('native/children/stopped.mjs', [], [], (text, child) => {
      if (text !== 'running\n') return;
      setTimeout(() => {
        child.kill('SIGSTOP');
        setTimeout(() => child.kill('SIGCONT'), 50);
      }, 20);
    });
    expect(ended.stdout.trim().split('\n')).toEqual(['running', '{"reason":"intr"}', '"ERR_KVM_CLOSED"']);
    expect(outcome(ended)).toBe(0);
  });
});
