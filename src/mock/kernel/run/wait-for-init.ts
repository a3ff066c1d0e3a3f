import { Refusal } from '../refusal.js';
import { keepAlive } from './keep-alive.js';

/** kvm_vcpu_block() of a vCPU that waits for an INIT, which a TD's never gets: only a signal ends it. */
export async function waitForInit(signal: AbortSignal): Promise<never> {
  using _ = keepAlive();
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
  throw new Refusal('kvm.run.signal');
}
