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

const STATES = {
  running: ['ERR_KVM_TD_RUNNING', 'the TD runs already: await its run()'],
  ended: ['ERR_KVM_TD_ENDED', 'the TD has run, and a TD runs once: create another'],
  closed: ['ERR_KVM_CLOSED', 'the TD is closed'],
} as const;

/** A TD was asked to run in a state in which it cannot. */
export class TdStateError extends Error {
  override readonly name = 'TdStateError';
  readonly code: 'ERR_KVM_TD_RUNNING' | 'ERR_KVM_TD_ENDED' | 'ERR_KVM_CLOSED';

  constructor(readonly state: keyof typeof STATES) {
    const [code, message] = STATES[state];
    super(message);
    this.code = code;
  }
}
