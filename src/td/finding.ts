import { RULES, type RuleId } from '../rulebook/index.js';

/**
 * - `error`: no TD comes of this configuration, or not the one that was asked for.
 * - `warning`: a TD comes of it, but something about it may surprise, or only the host can tell.
 * - `note`: worth knowing.
 */
export type Severity = 'error' | 'warning' | 'note';

/** One thing to say about a configuration. */
export interface Finding {
  /** Id of an entry of the rulebook. */
  readonly rule: RuleId;
  /** Where in the configuration: `xfam`, `cpuid[2].eax`, `features.AVX512F`; empty for the whole of it. */
  readonly path: string;
  readonly severity: Severity;
  /** What is the case, with the values. */
  readonly what: string;
  /** The rule that it touches. */
  readonly why: string;
  /** What to change. */
  readonly fix: string;
}

/** A finding; `why` and `fix` come from the rulebook unless the case has better ones. */
export function finding(
  rule: RuleId,
  path: string,
  severity: Severity,
  what: string,
  better: { why?: string; fix?: string } = {},
): Finding {
  const { what: why, fix } = RULES[rule];
  return { rule, path, severity, what, why: better.why ?? why, fix: better.fix ?? fix };
}

export const isError = (item: Finding): boolean => item.severity === 'error';

/** `error xfam: ... Fix: ... [rule]`, one line. */
export const findingText = ({ severity, path, what, fix, rule }: Finding): string =>
  `${severity} ${path || 'configuration'}: ${what}. ${fix}. [${rule}]`;
