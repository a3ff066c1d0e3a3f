import type { GuestEvent } from '../engine.js';
import { stepOnce } from '../interpreter/index.js';
import type { KvmEngineVcpu } from './vcpu.js';

/** Of the FXSAVE image at the start of KVM's XSAVE area, and of XSTATE_BV behind it. */
const FX_SIZE = 512;
const X87_AND_SSE = 3;

/**
 * Executes the instruction at RIP in software, because KVM's emulator does not know it. Registers are those in `vcpu.state`,
 * before and after.
 * @returns an event where it did not execute.
 */
export function stepInSoftware(vcpu: KvmEngineVcpu): GuestEvent | undefined {
  const { state, kvm, td } = vcpu;
  const xsave = kvm.getXsave();
  state.fx.set(xsave.subarray(0, FX_SIZE));
  const outcome = stepOnce(state, td.software);
  if (outcome.kind === 'stuck') return vcpu.stuck(`neither KVM's emulator nor the interpreter goes on: ${outcome.why}`);
  if (outcome.kind !== 'executed' && outcome.kind !== 'exception') return outcome;
  if (state.fx.some((byte, i) => byte !== xsave[i])) {
    xsave.set(state.fx);
    xsave[FX_SIZE]! |= X87_AND_SSE;
    kvm.setXsave(xsave);
  }
  vcpu.changed();
  return undefined;
}
