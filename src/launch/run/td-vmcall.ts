// TDG.VP.VMCALLs that KVM leaves to user space: MapGPA (as KVM_HC_MAP_GPA_RANGE) and KVM_EXIT_TDX.
import {
  type ExitReply,
  type HypercallExit,
  KVM_HC_MAP_GPA_RANGE,
  KvmError,
  KvmStateError,
  PAGE_SIZE,
  type TdxExit,
} from '../../kvm/index.js';
import type { TdMemory } from '../memory.js';
import type { QuoteService } from './quote.js';

/** Completion status of TDG.VP.VMCALL in R10 (TDVMCALL_STATUS_* of asm/shared/tdx.h; Intel TDX GHCI). */
export const VMCALL_STATUS = {
  SUCCESS: 0n,
  RETRY: 1n,
  INVALID_OPERAND: 0x8000_0000_0000_0000n,
  GPA_IN_USE: 0x8000_0000_0000_0001n,
  ALIGN_ERROR: 0x8000_0000_0000_0002n,
  SUBFUNC_UNSUPPORTED: 0x8000_0000_0000_0003n,
} as const;

/** KVM_MAP_GPA_RANGE_ENCRYPTED: the range becomes private. */
const ENCRYPTED = 1n << 4n;
const ENOSYS = 38;
const EINVAL = 22;

const failure = (errno: number): bigint => BigInt.asUintN(64, BigInt(-errno));

/** R11 of GetTdVmCallInfo leaf 1: sub-functions beyond the base set (tdx.c TDVMCALLINFO_SETUP_EVENT_NOTIFY_INTERRUPT). */
const SETUP_EVENT_NOTIFY_INTERRUPT = 1n << 1n;

/** Hears of the vector (32 to 255) at which the guest wants to be interrupted when a quote is there. */
export type NotifyHandler = (vector: number, vcpu: number) => void;

export interface VmcallHandlers {
  memory: TdMemory | undefined;
  quotes: QuoteService | undefined;
  notify: NotifyHandler | undefined;
}

/** MapGPA: the attributes change, the pages of the other kind are given back. KVM turns a refusal into INVALID_OPERAND. */
export function answerHypercall({ nr, args }: HypercallExit, { memory }: VmcallHandlers): ExitReply {
  if (nr !== KVM_HC_MAP_GPA_RANGE || !memory) return { ret: failure(ENOSYS) };
  const [gpa = 0n, pages = 0n, attributes = 0n] = args;
  try {
    const done = memory.convert(gpa, pages * BigInt(PAGE_SIZE), (attributes & ENCRYPTED) !== 0n);
    return { ret: done ? 0n : failure(EINVAL) };
  } catch (error) {
    // Closed in mid-run: the next KVM_RUN says so.
    if (error instanceof KvmStateError) return { ret: failure(EINVAL) };
    if (!(error instanceof KvmError)) throw error;
    return { ret: failure(-error.errno) };
  }
}

export function answerTdx(exit: TdxExit, vcpu: number, { quotes, notify }: VmcallHandlers): ExitReply {
  switch (exit.call) {
    case 'get-td-vm-call-info': {
      const r11 = notify ? SETUP_EVENT_NOTIFY_INTERRUPT : 0n;
      return { ret: VMCALL_STATUS.SUCCESS, tdVmCallInfo: { r11, r12: 0n, r13: 0n, r14: 0n } };
    }
    case 'get-quote':
      return { ret: quotes ? quotes.request(exit.gpa, exit.size) : VMCALL_STATUS.SUBFUNC_UNSUPPORTED };
    case 'setup-event-notify-interrupt':
      if (!notify) return { ret: VMCALL_STATUS.SUBFUNC_UNSUPPORTED };
      notify(Number(exit.vector), vcpu);
      return { ret: VMCALL_STATUS.SUCCESS };
    default:
      return { ret: VMCALL_STATUS.SUBFUNC_UNSUPPORTED };
  }
}
