import { errnoMessage, errnoName } from './errno.js';
import { decodeTdxStatus, type TdxStatus } from './status.js';

export interface KvmErrorInit {
  /** Positive errno. */
  errno: number;
  /** The request, such as `KVM_TDX_INIT_VM`. */
  request: string;
  /** `ioctl`, `open`, `mmap`, `fallocate`. */
  syscall?: string;
  path?: string;
  /** kvm_tdx_cmd.hw_error after the call. */
  hwError?: bigint;
  /** What to do about it, one sentence. */
  hint?: string;
  /** The entry of the rulebook that was violated, where it is known (always on the model). */
  rule?: string;
  pagesDone?: number;
}

/** A refused system call, shaped like Node's own system errors. */
export class KvmError extends Error {
  override readonly name = 'KvmError';
  /** `EINVAL`, ... */
  readonly code: string;
  /** Negative, as in Node. */
  readonly errno: number;
  readonly syscall: string;
  readonly request: string;
  readonly path?: string;
  /** The TDX module's status, decoded, where the kernel handed one back. Absent on EINVAL: one of KVM's own checks. */
  readonly tdxStatus?: TdxStatus;
  readonly hwError?: bigint;
  readonly hint?: string;
  readonly rule?: string;
  /** KVM_TDX_INIT_MEM_REGION: pages that are in the TD. */
  readonly pagesDone?: number;

  constructor(init: KvmErrorInit) {
    const code = errnoName(init.errno);
    const syscall = init.syscall ?? 'ioctl';
    const status = init.hwError ? decodeTdxStatus(init.hwError) : undefined;
    const where = init.path ? ` '${init.path}'` : '';
    const what = `${code}: ${errnoMessage(init.errno)}, ${syscall}(${init.request})${where}`;
    super([what, status && `TDX module: ${status.text}`, init.hint].filter(Boolean).join('; '));
    this.code = code;
    this.errno = -init.errno;
    this.syscall = syscall;
    this.request = init.request;
    if (init.path !== undefined) this.path = init.path;
    if (init.hwError) this.hwError = init.hwError;
    if (status) this.tdxStatus = status;
    if (init.hint !== undefined) this.hint = init.hint;
    if (init.rule !== undefined) this.rule = init.rule;
    if (init.pagesDone !== undefined) this.pagesDone = init.pagesDone;
  }
}

/** A misuse of an object: closed, running, of another VM. The code is stable, the text is for people. */
export class KvmStateError extends Error {
  override readonly name = 'KvmStateError';
  constructor(
    readonly code: 'ERR_KVM_CLOSED' | 'ERR_KVM_VCPU_RUNNING' | 'ERR_KVM_DUPLICATE_VCPU' | 'ERR_KVM_FOREIGN_OBJECT',
    message: string,
  ) {
    super(message);
  }
}

/** The rejection of a run that an AbortSignal ended, shaped as Node's own. */
export class AbortError extends Error {
  override readonly name = 'AbortError';
  readonly code = 'ABORT_ERR';
  constructor(reason: unknown) {
    super('The operation was aborted', { cause: reason });
  }
}
