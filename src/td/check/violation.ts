import type { CpuidRegister } from '../../cpuid/names.js';
import type { CpuidEntry } from '../../kvm/cpuid.js';
import { RULES, type RuleId } from '../../rulebook/index.js';
import type { Finding, Severity } from '../finding.js';

/** What a request of KVM_TDX_INIT_VM amounts to, as far as it can be wrong: from a configuration or from a program. */
export interface InitVmRequest {
  readonly attributes: bigint;
  readonly xfam: bigint;
  readonly cpuid: readonly CpuidEntry[];
  /** As asked for with KVM_SET_TSC_KHZ; 0: the host's. */
  readonly tscKhz: number;
}

/** The field that is at fault, in the words of the configuration; of a CPUID entry its position and register. */
export type Place =
  | { readonly field: 'attributes' | 'xfam' | 'gpaw' | 'tscKhz' | 'vcpus' | 'maxVcpus' }
  | { readonly field: 'cpuid'; readonly entry?: number; readonly register?: CpuidRegister };

/** A finding before it is known where in a configuration its place comes from. */
export interface Violation extends Omit<Finding, 'path'> {
  readonly at: Place;
}

/** A violation; `why` and `fix` are the rulebook's unless the case has better ones. */
export function violation(
  rule: RuleId,
  severity: Severity,
  at: Place,
  what: string,
  better: { why?: string; fix?: string } = {},
): Violation {
  const { what: why, fix } = RULES[rule];
  return { rule, severity, at, what, why: better.why ?? why, fix: better.fix ?? fix };
}
