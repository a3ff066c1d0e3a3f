import type { Finding, Severity } from '../td/finding.js';
import type { Output } from './output.js';

/** Findings for people: what, why and the fix, with the rule to look up. */
export function printFindings(output: Output, findings: readonly Finding[]): void {
  const { colors } = output;
  const paint: Record<Severity, (text: string) => string> = {
    error: (text) => colors.bold(colors.red(text)),
    warning: colors.yellow,
    note: colors.dim,
  };
  for (const { severity, path, what, why, fix, rule } of findings) {
    output.line(`${paint[severity](severity)}  ${path || 'configuration'}: ${what}`);
    output.line(`         why: ${why} ${colors.dim(`[${rule}]`)}`);
    output.line(`         ${colors.cyan('fix:')} ${fix}`);
  }
}

/** `2 errors, 1 warning`, or `nothing to report`. */
export function countFindings(findings: readonly Finding[]): string {
  const counts = (['error', 'warning', 'note'] as const).flatMap((severity) => {
    const n = findings.filter((finding) => finding.severity === severity).length;
    return n === 0 ? [] : [`${n} ${severity}${n === 1 ? '' : 's'}`];
  });
  return counts.join(', ') || 'nothing to report';
}
