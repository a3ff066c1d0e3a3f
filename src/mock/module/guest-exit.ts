import { TDX_STATUS } from '../../kvm/status.js';
import type { VpEnterResult } from './seamcall.js';
import { LAST_EXIT, type LastExit, VCPU_STATE, type VcpuState } from './td.js';
import { EXIT_REASON, type ExitReason } from './vmx.js';

/** What a TD exit leaves in the host's registers; those left out are 0. */
export type ExitRegisters = Pick<VpEnterResult, 'status'> & Partial<Omit<VpEnterResult, 'status' | 'rule'>>;

/** A TD exit: registers for the host, and the state in which the VCPU stays. */
export interface GuestExit {
  readonly registers: VpEnterResult;
  readonly vcpuState: VcpuState;
  readonly lastTdExit: LastExit;
}

/** All registers of the host, 0 where nothing else is said. */
export const exitRegisters = (given: ExitRegisters): VpEnterResult => ({
  rcx: 0n,
  rdx: 0n,
  rbx: 0n,
  rsi: 0n,
  rdi: 0n,
  r8: 0n,
  r9: 0n,
  r10: 0n,
  r11: 0n,
  r12: 0n,
  r13: 0n,
  r14: 0n,
  r15: 0n,
  ...given,
});

interface ExitDetails {
  qualification?: bigint;
  extended?: bigint;
  gpa?: bigint;
  interruption?: bigint;
}

/** An asynchronous TD exit after which the VCPU can be entered again, at the same instruction (td_exit.c async_tdexit_internal). */
export function asyncExit(
  reason: ExitReason,
  { qualification = 0n, extended = 0n, gpa = 0n, interruption = 0n }: ExitDetails = {},
): GuestExit {
  return {
    registers: exitRegisters({
      status: TDX_STATUS.TDX_SUCCESS | BigInt(reason),
      // Bits 33:32 of RCX would name the L2 VM.
      rcx: qualification & 0xffff_ffffn,
      rdx: extended,
      r8: gpa,
      r9: interruption,
    }),
    vcpuState: VCPU_STATE.READY,
    lastTdExit: LAST_EXIT.ASYNC_FAULT,
  };
}

/** TDX_NON_RECOVERABLE_VCPU: the VCPU cannot be entered any more. */
export const disablingExit = (reason: ExitReason, more: Partial<ExitRegisters> = {}): GuestExit => ({
  registers: exitRegisters({ status: TDX_STATUS.TDX_NON_RECOVERABLE_VCPU | BigInt(reason), ...more }),
  vcpuState: VCPU_STATE.DISABLED,
  lastTdExit: LAST_EXIT.ASYNC_FAULT,
});

// Valid, type 0 (external interrupt), RESCHEDULE_VECTOR of Linux: the interrupt that calls a processor back.
const RESCHEDULE_INTERRUPT = 0x8000_0000n | 0xfdn;

/** The host wants its processor back. */
export const interruptExit = (): GuestExit =>
  asyncExit(EXIT_REASON.EXTERNAL_INTERRUPT, { interruption: RESCHEDULE_INTERRUPT });

/** Thrown out of a TDCALL leaf: nothing is completed, the guest is where it was. Deliberately no Error. */
export class Diversion {
  /** @param exit the TD exit; without one an exception is injected already. */
  constructor(readonly exit?: GuestExit) {}
}
