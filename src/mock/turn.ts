import { setImmediate } from 'node:timers/promises';

/** Milliseconds that guests may take before timers, signals and input of the process get their turn. */
const SLICE = 4;

let since = 0;

/**
 * cond_resched() of all storeys of the model: lets the event loop turn if none of them has for a while. An engine, a module
 * or a kernel that answers without a turn of its own would otherwise keep an AbortSignal from a guest that does so for ever.
 */
export async function letOthersRun(): Promise<void> {
  if (performance.now() - since < SLICE) return;
  await setImmediate();
  since = performance.now();
}
