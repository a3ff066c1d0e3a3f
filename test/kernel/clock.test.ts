import { describe, expect, it } from 'vitest';
import { processClock } from '../../src/mock/clock.js';

const MS = 1_000_000n;

describe('The clock of a modelled machine', () => {
  it('calls when the time has come and not before', async () => {
    const at = processClock.now() + 3n * MS;
    const called = await new Promise<bigint>((resolve) => {
      const keepAlive = setTimeout(() => {}, 5000);
      processClock.at(at, () => {
        clearTimeout(keepAlive);
        resolve(processClock.now());
      });
    });
    expect(called).toBeGreaterThanOrEqual(at);
  });

  it('calls for a time that is past, but not before the caller goes on', async () => {
    const order: string[] = [];
    await new Promise<void>((resolve) => {
      const keepAlive = setTimeout(() => {}, 5000);
      processClock.at(0n, () => {
        order.push('called');
        clearTimeout(keepAlive);
        resolve();
      });
      order.push('went on');
    });
    expect(order).toEqual(['went on', 'called']);
  });

  it('takes times far beyond what a timer of Node.js can hold, and calls off', async () => {
    let calls = 0;
    const off = processClock.at(processClock.now() + (1n << 62n), () => calls++);
    const soon = processClock.at(processClock.now() + MS, () => calls++);
    soon();
    await new Promise((resolve) => setTimeout(resolve, 5));
    off();
    expect(calls).toBe(0);
  });
});
