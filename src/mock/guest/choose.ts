import type { KvmSystem } from '../../kvm/system.js';
import type { GuestEngine } from './engine.js';

/** `auto`: the first that this machine has. */
export type EngineKind = 'auto' | 'kvm' | 'interpreter';

export interface EngineChoice {
  wanted: EngineKind;
  /** Opens the real KVM, from which the engine `kvm` borrows plain VMs. */
  plainKvm?: (() => KvmSystem) | undefined;
}

/** What executes guests on this machine. Rejects with the reason where the wanted engine cannot be had. */
export async function chooseEngine({ wanted }: EngineChoice): Promise<GuestEngine> {
  if (wanted === 'kvm') throw new Error("the engine 'kvm' is not there yet");
  const { interpreterEngine } = await import('./interpreter/index.js');
  return interpreterEngine();
}
