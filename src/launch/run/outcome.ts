import type { TdxStatus, VcpuExit } from '../../kvm/index.js';
import type { FatalError } from './fatal-error.js';

/** How a run ended. */
export type HowEnded =
  /** The guest wrote to the exit port; `exitCode` is the byte. */
  | 'exit-port'
  /** TDG.VP.VMCALL<ReportFatalError>; `fatal` has it. */
  | 'fatal-error'
  /** KVM_EXIT_SHUTDOWN. */
  | 'triple-fault'
  /** KVM_EXIT_MEMORY_FAULT: `exit` says where. */
  | 'memory-fault'
  /** KVM_EXIT_INTERNAL_ERROR; `status` is the TDX module's, where it is one. */
  | 'internal-error'
  /** KVM_EXIT_FAIL_ENTRY. */
  | 'fail-entry'
  /** KVM_RUN failed with EIO: the VM is dead. */
  | 'vm-dead'
  /** KVM_RUN failed otherwise; `error` says how. */
  | 'run-failed'
  /** Every vCPU halted and nothing can wake it (plain VMs; a TD's halt does not leave the kernel). */
  | 'halted'
  /** KVM_EXIT_SYSTEM_EVENT of another type. */
  | 'system-event'
  /** An exit that nothing here answers. */
  | 'unknown-exit'
  /** A device or `onExit` ended it. */
  | 'stopped'
  /** `signal` was aborted. */
  | 'aborted'
  | 'timeout'
  /** The TD was closed. */
  | 'closed';

/** Where a vCPU was when the run ended. */
export interface VcpuSummary {
  id: number;
  /** Exits that reached JavaScript. */
  exits: number;
  /** The last of them, for people, and how long before the end it was. */
  lastExit?: { text: string; msAgo: number };
}

/** How a run ended, and what there is to know about it. */
export interface TdOutcome {
  how: HowEnded;
  /** vcpu_id of the vCPU that ended it; absent where none did. */
  vcpu?: number;
  /** The byte that the guest wrote to the exit port. */
  exitCode?: number;
  /** What happened, one sentence. */
  message: string;
  /** What probably caused it and what to do. */
  advice?: string;
  fatal?: FatalError;
  /** Status of the TDX module, decoded. */
  status?: TdxStatus;
  /** The exit that ended it. */
  exit?: VcpuExit;
  /** What KVM_RUN failed with. */
  error?: Error;
  /** The MRTD that the guest printed on its console, and whether it is the TD's. */
  mrtd?: { reported: string; matches: boolean };
  /** Milliseconds. */
  durationMs: number;
  /** Bytes the guest wrote to its console, and those of them that nobody read in time. */
  console: { bytes: number; dropped: number };
  vcpus: VcpuSummary[];
}

/** The part of an outcome that the end itself decides. */
export type End = Omit<TdOutcome, 'durationMs' | 'console' | 'vcpus' | 'mrtd'>;
