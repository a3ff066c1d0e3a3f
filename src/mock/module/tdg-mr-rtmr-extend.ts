import { createHash } from 'node:crypto';
import { GPR } from './gpr.js';
import type { Guest } from './guest-context.js';
import { checkAligned, operand } from './guest-operand.js';
import { refuse } from './refusal.js';

const HASH = 48;
const ALIGNMENT = 64;
const NUM_RTMRS = 4n;

/** TDG.MR.RTMR.EXTEND: RTMR := SHA-384 of RTMR and 48 bytes. RCX: private GPA of the bytes, RDX: index (tdg_mr_rtmr_extend.c). */
export function tdgMrRtmrExtend(guest: Guest): undefined {
  const { gprs } = guest.cpu;
  const gpa = gprs[GPR.RCX]!;
  const index = gprs[GPR.RDX]!;
  checkAligned(gpa, ALIGNMENT, 'RCX');
  const extension = operand(guest, gpa, 'RCX').read(HASH);
  if (index >= NUM_RTMRS) throw refuse('module.rtmr.index', 'RDX');
  const register = guest.td.rtmr.subarray(Number(index) * HASH, (Number(index) + 1) * HASH);
  register.set(createHash('sha384').update(register).update(extension).digest());
}
