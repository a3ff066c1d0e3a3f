import type { KvmSystem } from '../kvm/system.js';
import { checkTdConfig, type Finding, gatherHostFacts, validateTd } from '../td/index.js';

/** Everything to say about a configuration on this system: about its form, and about what the host makes of the rest. */
export function findConfigProblems(system: KvmSystem, input: unknown): readonly Finding[] {
  const { config, findings } = checkTdConfig(input);
  return [...findings, ...validateTd(config, gatherHostFacts(system))];
}
