import { setImmediate } from 'node:timers/promises';

/** Milliseconds that guests may take before timers, signals and input of the process get their turn. */
const SLICE = 4;

let since = 0;

/**
 * cond_resched(): lets the event loop turn if it has not for a while. An engine may answer without a turn of its own, and
 * a guest that exits without end would then never see an AbortSignal.
 */
export async function letOthersRun(): Promise<void> {
  if (performance.now() - since < SLICE) return;
  await setImmediate();
  since = performance.now();
}

/** Keeps the event loop running while a vCPU waits for nothing that the process knows of. */
export function keepAlive(): Disposable {
  const timer = setInterval(() => {}, 0x7fff_ffff);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
