import type { Clock } from '../../src/mock/clock.js';

interface Timer {
  at: bigint;
  expire(): void;
}

/** Time that passes when a test says so. */
export class ManualClock implements Clock {
  #now: bigint;
  readonly #timers = new Set<Timer>();

  constructor(now = 1_000_000_000n) {
    this.#now = now;
  }

  now(): bigint {
    return this.#now;
  }

  at(at: bigint, expire: () => void): () => void {
    const timer = { at, expire };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Timers that are set. */
  get pending(): number {
    return this.#timers.size;
  }

  /** Lets `ns` nanoseconds pass; timers expire in their order, at their time. */
  pass(ns: bigint): void {
    const end = this.#now + ns;
    for (;;) {
      const [next] = [...this.#timers].filter(({ at }) => at <= end).sort((a, b) => Number(a.at - b.at));
      if (!next) break;
      this.#timers.delete(next);
      if (next.at > this.#now) this.#now = next.at;
      next.expire();
    }
    this.#now = end;
  }

  /** As {@link pass}, but nobody looks at the clock before the end: timers are late. */
  oversleep(ns: bigint): void {
    this.#now += ns;
    this.pass(0n);
  }
}
