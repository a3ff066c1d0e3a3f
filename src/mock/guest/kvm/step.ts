import type { KvmFpu } from '../../../kvm/index.js';
import type { CpuState } from '../cpu/index.js';
import type { GuestEvent } from '../engine.js';
import { stepOnce } from '../interpreter/index.js';
import type { KvmEngineVcpu } from './vcpu.js';

// Offsets in an FXSAVE image.
const FCW = 0;
const FSW = 2;
const FTW = 4;
const FOP = 6;
const FIP = 8;
const FDP = 16;
const MXCSR = 24;
const ST = 32;
const XMM = 160;

function takeFpu({ fx, fxView }: CpuState, fpu: KvmFpu): void {
  fxView.setUint16(FCW, fpu.fcw, true);
  fxView.setUint16(FSW, fpu.fsw, true);
  fx[FTW] = fpu.ftwx;
  fxView.setUint16(FOP, fpu.lastOpcode, true);
  fxView.setBigUint64(FIP, fpu.lastIp, true);
  fxView.setBigUint64(FDP, fpu.lastDp, true);
  fxView.setUint32(MXCSR, fpu.mxcsr, true);
  fx.set(fpu.fpr, ST);
  fx.set(fpu.xmm, XMM);
}

const fpuOf = ({ fx, fxView }: CpuState): KvmFpu => ({
  fcw: fxView.getUint16(FCW, true),
  fsw: fxView.getUint16(FSW, true),
  ftwx: fx[FTW]!,
  lastOpcode: fxView.getUint16(FOP, true),
  lastIp: fxView.getBigUint64(FIP, true),
  lastDp: fxView.getBigUint64(FDP, true),
  mxcsr: fxView.getUint32(MXCSR, true),
  fpr: fx.slice(ST, ST + 128),
  xmm: fx.slice(XMM, XMM + 256),
});

/**
 * Executes the instruction at RIP in software, because KVM's emulator does not know it. Registers are those in `vcpu.state`,
 * before and after.
 * @returns an event where it did not execute.
 */
export function stepInSoftware(vcpu: KvmEngineVcpu): GuestEvent | undefined {
  const { state, kvm, td } = vcpu;
  takeFpu(state, kvm.getFpu());
  const outcome = stepOnce(state, td.software);
  if (outcome.kind === 'stuck') return vcpu.stuck(`neither KVM's emulator nor the interpreter goes on: ${outcome.why}`);
  if (outcome.kind !== 'executed' && outcome.kind !== 'exception') return outcome;
  kvm.setFpu(fpuOf(state));
  vcpu.changed();
  return undefined;
}
