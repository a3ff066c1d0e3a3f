import type { Handled } from './handled.js';
import type { TdRun } from './td-run.js';

const KVM_SYSTEM_EVENT_TDX_FATAL = 7;

/** tdx_report_fatal_error(): all registers in the order of their encodings; RSP and RBP are not known. */
export function reportFatalError({ vpEnterRet, regs }: TdRun): Handled {
  const { rcx, rdx, rbx, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15 } = regs;
  const data = [vpEnterRet, rcx, rdx, rbx, 0n, 0n, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15];
  return { exit: { reason: 'system-event', type: KVM_SYSTEM_EVENT_TDX_FATAL, data } };
}
