import type { Call } from './call.js';
import { type ExitRegisters, exitRegisters, type GuestExit } from './guest-exit.js';
import { refuse } from './refusal.js';
import { LAST_EXIT, VCPU_STATE, type Vcpu } from './td.js';
import { associate } from './tdh-vp.js';

/** What a TD exit leaves in the host's registers; those left out are 0. RAX (`status`) has the VMX exit reason in its lower half. */
export type TdExit = ExitRegisters;

/** Runs the guest of an entered VCPU until it exits. */
export type OnEnter = (vcpu: Vcpu) => TdExit;

/** A host's interrupt that came before the first instruction: VMX exit reason 1. */
export const EXTERNAL_INTERRUPT: TdExit = { status: 1n };

// RCX: TDVPR in bits 51:12, HOST_RECOVERABILITY_HINT in 52, RESUME_L1 in 53.
const TDVPR_BITS = 0x000f_ffff_ffff_f000n;
const HOST_RECOVERABILITY_HINT = 1n << 52n;
const RESUME_L1 = 1n << 53n;

/** The first half of TDH.VP.ENTER: all checks, and the VCPU is inside. RCX: TDVPR and flags. */
export function vpEnter(call: Call): Vcpu {
  if (call.rcx & ~(TDVPR_BITS | HOST_RECOVERABILITY_HINT | RESUME_L1)) throw refuse('module.vp-enter.handle', 'RCX');
  const vcpu = call.vcpu(call.rcx & TDVPR_BITS, 'RCX', false);
  const { td } = vcpu;
  call.checkState(td);
  call.checkTdvps(vcpu);
  associate(vcpu, false);
  // Both hints need what does not occur here: a trap-like exit before, or an exit from an L2 VM.
  if (call.rcx & (HOST_RECOVERABILITY_HINT | RESUME_L1)) throw refuse('module.vp-enter.hints', 'RCX');
  vcpu.epoch = td.epoch;
  td.refcount[vcpu.epoch & 1n ? 1 : 0]++;
  vcpu.state = VCPU_STATE.ACTIVE;
  return vcpu;
}

/** The second half: the VCPU has left with `exit`. */
export function vpExit(vcpu: Vcpu, { vcpuState, lastTdExit }: GuestExit): void {
  vcpu.state = vcpuState;
  vcpu.lastTdExit = lastTdExit;
  vcpu.td.refcount[vcpu.epoch & 1n ? 1 : 0]--;
}

/** An exit of a guest that runs elsewhere. */
export const plainExit = (registers: TdExit): GuestExit => ({
  registers: exitRegisters(registers),
  vcpuState: VCPU_STATE.READY,
  lastTdExit: LAST_EXIT.ASYNC_FAULT,
});

/** A leave and an entry at once: TLB tracking counts the VCPU in the current epoch. */
export function reenter(vcpu: Vcpu): void {
  const { td } = vcpu;
  td.refcount[vcpu.epoch & 1n ? 1 : 0]--;
  vcpu.epoch = td.epoch;
  td.refcount[vcpu.epoch & 1n ? 1 : 0]++;
}
