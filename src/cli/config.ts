import type { KvmSystem } from '../kvm/system.js';
import { type Finding, gatherHostFacts, type TdConfig, validateTd } from '../td/index.js';

/** Everything to say about a configuration on this system; validateTd checks the form of its input itself. */
export const findConfigProblems = (system: KvmSystem, input: unknown): readonly Finding[] =>
  validateTd(input as TdConfig, gatherHostFacts(system));
