import type { KvmSystem } from '../kvm/system.js';
import type { Output } from './output.js';

/** What every answer says about where it comes from. */
export interface AskedSystem {
  backend: 'native' | 'mock';
  /** The modelled host, on the model only. */
  profile?: string;
  description: string;
}

export async function askedSystem(system: KvmSystem): Promise<AskedSystem> {
  const { backend, description } = system;
  if (backend === 'native') return { backend, description };
  const { mockHostOf } = await import('../mock/index.js');
  const profile = mockHostOf(system)?.profile.name;
  return { backend, ...(profile !== undefined && { profile }), description };
}

/** The first line of every answer for people: on the model it says so. */
export function printSystem(output: Output, system: KvmSystem): void {
  const { colors } = output;
  const kind = system.backend === 'mock' ? colors.yellow('mock') : colors.green('native');
  output.line(`${kind}: ${system.description}`);
}
