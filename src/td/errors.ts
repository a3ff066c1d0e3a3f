import { type Finding, findingText } from './finding.js';

/** A configuration that no TD can be made of, with everything that was found, not only the first. */
export class TdConfigError extends Error {
  override readonly name = 'TdConfigError';
  readonly code = 'ERR_TD_CONFIG';
  readonly findings: readonly Finding[];

  constructor(findings: readonly Finding[]) {
    const errors = findings.filter(({ severity }) => severity === 'error');
    const count = errors.length === 1 ? '1 error' : `${errors.length} errors`;
    super([`The TD's configuration has ${count}:`, ...errors.map((item) => `  ${findingText(item)}`)].join('\n'));
    this.findings = findings;
  }
}
