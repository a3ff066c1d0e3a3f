import type { KvmSystem } from '../../kvm/system.js';
import { gatherHostFacts, type TdHostFacts } from '../../td/host-facts.js';
import type { RulesDocument } from '../document.js';
import type { HostFacts } from '../host.js';
import { bundledVersions, loadRules } from '../load.js';
import { type CompiledRules, compileRules } from '../rules.js';

/** What questions about CPUID are asked of: a host, or a module version. What is left out is not known, and never guessed. */
export interface CpuidHost {
  /** For messages. */
  readonly name: string;
  /** The rules of its TDX module. */
  readonly rules?: CompiledRules;
  /** The processor and its firmware; a missing `cpuid`, `msr` or `sys` is unknown, missing rows and MSRs are zeros. */
  readonly platform?: Partial<HostFacts>;
  /** What its kernel says. Without them the module alone is asked. */
  readonly facts?: TdHostFacts;
}

/** Rules by version, as a document, or compiled. A version without a document has none. */
export type RulesSource = string | RulesDocument | CompiledRules;

/** The rules that `source` means; undefined for a version that has no document. @throws RulesError for a wrong document. */
export function findRules(source: RulesSource | undefined): CompiledRules | undefined {
  if (source === undefined) return undefined;
  if (typeof source === 'string') return bundledVersions().includes(source) ? loadRules(source) : undefined;
  return 'find' in source ? source : compileRules(source);
}

export interface CpuidHostOptions {
  name?: string;
  /** The module, where the system does not say which, or where another is meant. */
  module?: RulesSource | undefined;
  /** The processor and its firmware, where the system does not say. */
  platform?: Partial<HostFacts> | undefined;
  /** What the system said already; left out, it is asked. */
  facts?: TdHostFacts;
}

/** The profile behind a system of the model, as far as CPUID is concerned. */
interface ModelledHost {
  host?: { profile: { name: string; module: { version?: string }; platform: HostFacts } };
}

/**
 * An open system, to be asked about. On the model the profile gives the module version and the processor; of a real one
 * they are unknown unless `options` give them.
 * @throws KvmError EINVAL of KVM_CREATE_VM where KVM offers no TDs.
 */
export function cpuidHostOf(system: KvmSystem, options: CpuidHostOptions = {}): CpuidHost {
  const profile = (system as KvmSystem & ModelledHost).host?.profile;
  const rules = findRules(options.module ?? profile?.module.version);
  const platform = options.platform ?? profile?.platform;
  return {
    name: options.name ?? profile?.name ?? 'this host',
    ...(rules && { rules }),
    ...(platform && { platform }),
    facts: options.facts ?? gatherHostFacts(system),
  };
}

/** A module version without a host. @throws RangeError for a version without a rules document. */
export const cpuidHostOfModule = (version: string): CpuidHost => ({
  name: `module ${version}`,
  rules: loadRules(version),
});
