import type { KvmError } from '../kvm/index.js';
import type { InitVmDiagnosis } from './diagnose.js';

/** A request of a launch was refused although the configuration is valid as far as could be told. */
export class TdLaunchError extends Error {
  override readonly name = 'TdLaunchError';
  /** The step that failed, as reported to `onStep`. */
  readonly step: string;
  readonly request: string;
  override readonly cause: KvmError;
  /** Which check refused KVM_TDX_INIT_VM, as far as it could be found out. */
  readonly diagnosis: InitVmDiagnosis | undefined;

  constructor(step: string, cause: KvmError, diagnosis?: InitVmDiagnosis) {
    super(`${step}: ${diagnosis?.text ?? cause.message}`);
    this.step = step;
    this.request = cause.request;
    this.cause = cause;
    this.diagnosis = diagnosis;
  }
}
