import type { KvmError } from '../kvm/index.js';

/** A request of a launch was refused although the configuration is valid as far as could be told. */
export class TdLaunchError extends Error {
  override readonly name = 'TdLaunchError';
  /** The step that failed, as reported to `onStep`. */
  readonly step: string;
  readonly request: string;
  override readonly cause: KvmError;
  /** What the refusal means, where it could be found out. */
  readonly explanation: string | undefined;

  constructor(step: string, cause: KvmError, explanation?: string) {
    super(`${step}: ${cause.message}${explanation ? `; ${explanation}` : ''}`);
    this.step = step;
    this.request = cause.request;
    this.cause = cause;
    this.explanation = explanation;
  }
}
