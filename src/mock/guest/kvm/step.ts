import type { GuestEvent } from '../engine.js';
import type { Insn } from '../interpreter/decode.js';
import { stepOnce } from '../interpreter/index.js';
import type { KvmEngineVcpu } from './vcpu.js';

/** Of the FXSAVE image at the start of KVM's XSAVE area, and of XSTATE_BV behind it. */
const FX_SIZE = 512;
const X87_AND_SSE = 3;
const NONE = new Uint8Array(0);

/** Instructions that change general registers, flags and memory only, unless they raise an exception. */
const KEEPS_SREGS = /^(?:Cli|Sti|Pushfq?|Popfq?|Mov[sz]x|Movsxd|Add|Sub|And|Or|Xor|Cmp|Test|Inc|Dec|Stos.|Movs[bwdq])$/;

/** Whether an instruction may touch the FPU's or the SSE registers. */
export const usesFpu = ({ name, operands }: Insn): boolean =>
  /^(?:F|V|X|P|Wait|Emms|Ldmxcsr|Stmxcsr)/.test(name) ||
  operands.some((operand) => operand.kind === 'reg' && (operand.file === 'xmm' || operand.file === 'other'));

/**
 * Executes the instruction at RIP in software, because KVM's emulator does not know it. Registers are those in `vcpu.state`,
 * before and after.
 * @param insn the instruction, where it is known: without use for the FPU's registers these stay where they are.
 * @returns an event where it did not execute.
 */
export function stepInSoftware(vcpu: KvmEngineVcpu, insn?: Insn): GuestEvent | undefined {
  const { state, kvm, td } = vcpu;
  const fpu = insn === undefined || usesFpu(insn);
  const xsave = fpu ? kvm.getXsave() : NONE;
  if (fpu) state.fx.set(xsave.subarray(0, FX_SIZE));
  const outcome = stepOnce(state, td.software);
  if (outcome.kind === 'stuck') return vcpu.stuck(`neither KVM's emulator nor the interpreter goes on: ${outcome.why}`);
  if (outcome.kind !== 'executed' && outcome.kind !== 'exception') return outcome;
  if (fpu && state.fx.some((byte, i) => byte !== xsave[i])) {
    xsave.set(state.fx);
    xsave[FX_SIZE]! |= X87_AND_SSE;
    kvm.setXsave(xsave);
  }
  if (outcome.kind === 'exception' || insn === undefined || !KEEPS_SREGS.test(insn.name)) vcpu.changed();
  return undefined;
}
