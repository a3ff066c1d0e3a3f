import { setImmediate } from 'node:timers/promises';

/** Milliseconds that guests may take before timers, signals and input of the process get their turn. */
const SLICE = 4;

let since = 0;

/** Whether no storey of the model has let the event loop turn for a while. */
export const turnIsDue = (): boolean => performance.now() - since >= SLICE;

/**
 * cond_resched() of all storeys of the model, for when a turn is due. An engine, a module or a kernel that answers without a
 * turn of its own would otherwise keep an AbortSignal from a guest that does so for ever.
 */
export async function letOthersRun(): Promise<void> {
  await setImmediate();
  since = performance.now();
}
