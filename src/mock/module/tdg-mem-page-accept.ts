import { walkTo } from './gpa.js';
import { GPR } from './gpr.js';
import type { Guest } from './guest-context.js';
import { eptViolationExit } from './guest-ept.js';
import { Diversion } from './guest-exit.js';
import { refuse } from './refusal.js';
import { architecturalEntry, type SeptWalk } from './sept.js';
import { spanOf } from './sept-leaves.js';
import { isLeafState, SEPT } from './sept-state.js';
import { EPT_QUALIFICATION, EXTENDED_QUALIFICATION } from './vmx.js';

const LEVEL_2M = 1;

/**
 * TDG.MEM.PAGE.ACCEPT: a pending page becomes a zeroed page of the TD (tdg_mem_page_accept.c). RCX: level, 0 or 1, in bits 2:0 and
 * GPA. Where nothing is pending the TD is left, and the host may give it the page before the guest tries again.
 */
export function tdgMemPageAccept(guest: Guest): undefined {
  const { cpu, td, memory } = guest;
  const { gpa, level } = pageOperand(guest, cpu.gprs[GPR.RCX]!);
  const walk = walkTo(td, gpa, level);
  const state = walk.entry?.state ?? SEPT.FREE;
  if (state === SEPT.MAPPED) throw refuse('module.accept.once', walk.level);
  if (walk.level !== level) throw violation(walk, gpa, level);
  if (state !== SEPT.FREE && !isLeafState(state)) throw refuse('module.accept.size', walk.level);
  if (state !== SEPT.PENDING) throw violation(walk, gpa, level);
  walk.entry!.state = SEPT.MAPPED;
  memory.mapped(walk, gpa);
}

/** Level and aligned private GPA; the other bits are 0. */
function pageOperand({ memory }: Guest, rcx: bigint): { gpa: number; level: number } {
  const level = Number(rcx & 7n);
  const gpa = Number(rcx - BigInt(level));
  if (rcx >> 52n !== 0n || level > LEVEL_2M || gpa % spanOf(level) !== 0)
    throw refuse('module.accept.mapping-info', 'RCX');
  if (memory.isShared(gpa) || memory.isBeyondWidth(gpa)) throw refuse('module.operand.gpa', 'RCX');
  return { gpa, level };
}

/** A TD exit that tells the host which level was asked for, and where the walk ended (td_other_exits.c async_tdexit_ept_violation). */
function violation({ entry, level }: SeptWalk, gpa: number, requested: number): Diversion {
  const state = entry?.state ?? SEPT.FREE;
  const info = requested | (level << 3) | (state << 6) | (isLeafState(state) ? 1 << 14 : 0);
  const permissions = (architecturalEntry(entry) & 7n) << 3n;
  const extended = EXTENDED_QUALIFICATION.ACCEPT | (BigInt(info) << 32n);
  return new Diversion(eptViolationExit(gpa, EPT_QUALIFICATION.WRITE | permissions, extended));
}
