import type { KvmSystem } from '../kvm/system.js';
import type { Output } from './output.js';

/** What every answer says about where it comes from. */
export interface AskedSystem {
  backend: 'native' | 'mock';
  /** The modelled host, on the model only. */
  profile?: string;
  description: string;
}

export const askedSystem = (system: KvmSystem): AskedSystem => {
  const { backend, description } = system;
  const profile = (system as KvmSystem & { profile?: { name: string } }).profile?.name;
  return { backend, ...(profile !== undefined && { profile }), description };
};

/** The first line of every answer for people: on the model it says so. */
export function printSystem(output: Output, system: KvmSystem): void {
  const { colors } = output;
  const kind = system.backend === 'mock' ? colors.yellow('model') : colors.green('kernel');
  output.line(`${kind}: ${system.description}`);
}
