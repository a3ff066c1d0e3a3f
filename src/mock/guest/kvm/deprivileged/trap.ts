import type { KvmVcpu } from '../../../../kvm/index.js';

/** An exception of deprivileged code. RIP is at the instruction, or behind it for traps (#DB, #BP). */
export interface Trapped {
  vector: number;
  errorCode: number | undefined;
}

/** The exception that KVM could not deliver: it is still told of in KVM_GET_VCPU_EVENTS after KVM_EXIT_SHUTDOWN. */
export function trappedException(kvm: KvmVcpu): Trapped {
  const { nr, hasErrorCode, errorCode } = kvm.getVcpuEvents().exception;
  return { vector: nr, errorCode: hasErrorCode === 0 ? undefined : errorCode };
}
