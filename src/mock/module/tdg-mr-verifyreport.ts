import { GPR } from './gpr.js';
import type { Guest } from './guest-context.js';
import { checkAligned, operand } from './guest-operand.js';
import { refuse } from './refusal.js';
import { isOurReport } from './td-report.js';

const MAC_STRUCT = 256;
const CPUSVN = { start: 16, end: 32 } as const;
const FEATURES0_LOCAL_ATTESTATION = 1n << 8n;

/**
 * TDG.MR.VERIFYREPORT: whether a REPORTMACSTRUCT was made on this platform (tdg_mr_verifyreport.c). RCX: its private GPA. Here
 * those count that this module made and nobody has changed.
 */
export function tdgMrVerifyreport(guest: Guest): undefined {
  const { cpu, module, state } = guest;
  if (!(module.sysInfo.tdxFeatures0 & FEATURES0_LOCAL_ATTESTATION))
    throw refuse('module.verifyreport.available', 'RAX');
  const gpa = cpu.gprs[GPR.RCX]!;
  checkAligned(gpa, MAC_STRUCT, 'RCX');
  const bytes = operand(guest, gpa, 'RCX').read(MAC_STRUCT);
  if (bytes.subarray(CPUSVN.start, CPUSVN.end).some((byte) => byte !== 0)) throw refuse('module.verifyreport.cpusvn');
  if (!isOurReport(state, bytes)) throw refuse('module.verifyreport.mac');
}
