/** Time of a modelled machine. */
export interface Clock {
  /** ktime_get(): nanoseconds, monotonic. */
  now(): bigint;
  /** Calls `expire` once `now()` has reached `at`, from the event loop; the result calls it off. */
  at(at: bigint, expire: () => void): () => void;
}

/** Longest time of a timer of Node.js, in milliseconds. */
const LONGEST = 0x7fff_ffff;

/** The process's monotonic clock. Its timers, in whole milliseconds, do not keep the process alive. */
export const processClock: Clock = {
  now: () => process.hrtime.bigint(),
  at(at, expire) {
    let timer: NodeJS.Timeout;
    const look = (): void => {
      const left = at - processClock.now();
      if (left <= 0n) expire();
      else wait(left);
    };
    const wait = (left: bigint): void => {
      timer = setTimeout(look, Math.min(Number((left + 999_999n) / 1_000_000n), LONGEST)).unref();
    };
    const left = at - processClock.now();
    wait(left > 0n ? left : 0n);
    return () => clearTimeout(timer);
  },
};
