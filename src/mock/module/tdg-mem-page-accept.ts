import { walkTo } from './gpa.js';
import { GPR } from './gpr.js';
import type { Guest } from './guest-context.js';
import { walkViolationExit } from './guest-ept.js';
import { Diversion } from './guest-exit.js';
import { pageOperand } from './guest-operand.js';
import { refuse } from './refusal.js';
import { isLeafState, SEPT } from './sept-state.js';
import { EXTENDED_QUALIFICATION } from './vmx.js';

const LEVEL_2M = 1;

/**
 * TDG.MEM.PAGE.ACCEPT: a pending page becomes a zeroed page of the TD (tdg_mem_page_accept.c). RCX: level, 0 or 1, in bits 2:0 and
 * GPA. Where nothing is pending the TD is left, and the host may give it the page before the guest tries again.
 */
export function tdgMemPageAccept(guest: Guest): undefined {
  const { cpu, td, memory } = guest;
  const { gpa, level } = pageOperand(guest, cpu.gprs[GPR.RCX]!, LEVEL_2M);
  const walk = walkTo(td, gpa, level);
  const state = walk.entry?.state ?? SEPT.FREE;
  if (state === SEPT.MAPPED) throw refuse('module.accept.once', walk.level);
  if (walk.level !== level) throw new Diversion(walkViolationExit(walk, gpa, level, EXTENDED_QUALIFICATION.ACCEPT));
  if (state !== SEPT.FREE && !isLeafState(state)) throw refuse('module.accept.size', walk.level);
  if (state !== SEPT.PENDING) throw new Diversion(walkViolationExit(walk, gpa, level, EXTENDED_QUALIFICATION.ACCEPT));
  walk.entry!.state = SEPT.MAPPED;
  memory.mapped(walk, gpa);
}
