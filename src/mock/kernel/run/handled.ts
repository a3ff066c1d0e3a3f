import type { ExitReply, VcpuExit } from '../../../kvm/exits.js';

/** What KVM does after a TD exit: it enters the guest again, or returns to user space. */
export type Handled = 'enter' | UserExit;

/** A return of KVM_RUN to user space. */
export interface UserExit {
  exit: VcpuExit;
  /** The part of an ExitReply that the next KVM_RUN may bring; nothing where this is left out. */
  takes?: Takes;
  /** vcpu->arch.complete_userspace_io: what the next KVM_RUN does first. */
  complete?: (reply: ExitReply) => Handled;
}

/** What user space may answer to an exit. */
export type Takes =
  /** `data` of `length` bytes. */
  | { kind: 'data'; length: number }
  /** `ret`. */
  | { kind: 'ret' }
  /** `ret` and `tdVmCallInfo`. */
  | { kind: 'td-vm-call-info' }
  /** `msr`. */
  | { kind: 'msr' };
