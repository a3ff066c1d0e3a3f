import { GPR } from './gpr.js';
import type { Guest } from './guest-context.js';
import { refuse } from './refusal.js';

const OUTPUTS = [GPR.RCX, GPR.RDX, GPR.R8, GPR.R9, GPR.R10] as const;
const LATEST = 2;

/**
 * TDG.VP.VEINFO.GET: what the last #VE was about, once (tdg_vp_veinfo_get.c). RCX: exit reason, from version 1 on its category in
 * the upper half; RDX: qualification; R8: linear, R9: physical address; R10: length of the instruction, its information in
 * the upper half; version 2 clears R11 and R12.
 */
export function tdgVpVeinfoGet({ cpu: { gprs }, vcpu }: Guest, version: number): undefined {
  for (const register of OUTPUTS) gprs[register] = 0n;
  if (version > LATEST) throw refuse('module.tdcall.version', 'RAX');
  const { veInfo } = vcpu;
  if (!veInfo) throw refuse('module.veinfo.valid');
  const category = version > 0 ? BigInt(veInfo.category) << 32n : 0n;
  gprs[GPR.RCX] = BigInt(veInfo.exitReason) | category;
  gprs[GPR.RDX] = veInfo.qualification;
  gprs[GPR.R8] = veInfo.gla;
  gprs[GPR.R9] = veInfo.gpa;
  gprs[GPR.R10] = BigInt(veInfo.instructionLength) | (BigInt(veInfo.instructionInformation) << 32n);
  if (version > 1) {
    gprs[GPR.R11] = 0n;
    gprs[GPR.R12] = 0n;
  }
  vcpu.veInfo = undefined;
}
