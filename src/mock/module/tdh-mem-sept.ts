import type { Call } from './call.js';
import { checkGpaAndLevel, septFailure, walkExactly, walkToOperand } from './gpa.js';
import { PT } from './pamt.js';
import { refuse } from './refusal.js';
import { architecturalEntry, architecturalInfo, isEmpty, newSeptTable } from './sept.js';
import { SEPT } from './sept-state.js';
import { checkEntry, checkTracked } from './tdh-mem-page.js';

const NULL_PA = (1n << 64n) - 1n;
const BIT_63 = 1n << 63n;
const ALLOW_EXISTING = 1n;
/** RDX: ALLOW_EXISTING in bit 0, the TDR in 51:12, the rest is 0. */
const TDR_BITS = 0x000f_ffff_ffff_f000n;

/**
 * TDH.MEM.SEPT.ADD: a free page becomes a table of the secure EPT. RCX: GPA and level of the new table's parent entry, RDX: TDR,
 * R8: page. Version 1 also takes pages for L2 VMs (R9 to R11); TDs with L2 VMs are not modelled that far.
 */
export function memSeptAdd(call: Call): void {
  call.out.rcx = 0n;
  call.out.rdx = 0n;
  const target = unused(call.r8);
  // Pages that are not used come back with bit 63 set, those that are as all ones.
  if (call.version > 0)
    Object.assign(call.out, { r8: target, r9: unused(call.r9), r10: unused(call.r10), r11: unused(call.r11) });
  if (call.rdx & ~(TDR_BITS | ALLOW_EXISTING)) throw refuse('module.sept-add.handle', 'RDX');
  const td = call.td(call.rdx & TDR_BITS, 'RDX', false);
  call.checkState(td);
  const { gpa, level } = checkGpaAndLevel(call, td, 1, td.rootLevel);
  const walk = walkExactly(call, td, gpa, level);
  const entry = checkEntry(call, walk);

  if (target === NULL_PA) {
    if (call.version === 0) throw refuse('module.sept-add.page', 'R8');
    if (!entry) throw septFailure(call, walk, 'module.sept.state', 'RCX');
  } else if (entry) {
    if (!(call.rdx & ALLOW_EXISTING)) throw septFailure(call, walk, 'module.sept.state', 'RCX');
    if (call.version > 0) call.out.r8 = target | BIT_63;
  }
  const page = entry || target === NULL_PA ? undefined : call.page(target, 'R8', PT.NDA, true);
  if (call.version > 0) refuseL2Pages(call);
  if (!page) return;

  walk.table[walk.index] = { state: SEPT.NL_MAPPED, hpa: page.pa, table: newSeptTable() };
  td.children++;
  page.type = PT.EPT;
  page.owner = td.tdrPa;
  page.bepoch = 0n;
  if (call.version > 0) call.out.r8 = NULL_PA;
}

/** Bit 63 of an input page is ignored. */
const unused = (page: bigint): bigint => (page === NULL_PA ? NULL_PA : page & ~BIT_63);

function refuseL2Pages(call: Call): void {
  if (call.r9 !== NULL_PA) throw refuse('module.sept-add.l2', 'R9');
  if (call.r10 !== NULL_PA) throw refuse('module.sept-add.l2', 'R10');
  if (call.r11 !== NULL_PA) throw refuse('module.sept-add.l2', 'R11');
}

/** TDH.MEM.SEPT.REMOVE: takes an empty table away. RCX: GPA and level of its parent entry, RDX: TDR. */
export function memSeptRemove(call: Call): void {
  Object.assign(call.out, { rcx: 0n, rdx: 0n });
  if (call.version > 0) Object.assign(call.out, { r9: NULL_PA, r10: NULL_PA, r11: NULL_PA });
  const { pamt } = call.module;
  const td = call.td(call.rdx, 'RDX', false);
  call.checkState(td);
  const { gpa, level } = checkGpaAndLevel(call, td, 1, td.rootLevel);
  const walk = walkExactly(call, td, gpa, level);
  const entry = checkEntry(call, walk)!;
  const page = pamt.entry(entry.hpa);
  checkTracked(call, td, walk, page);
  if (!isEmpty(entry.table!)) throw septFailure(call, walk, 'module.sept-remove.empty', 'RCX');

  walk.table[walk.index] = undefined;
  td.children--;
  pamt.free(page);
  pamt.tidy(page);
  call.out.rcx = BigInt(page.pa);
}

/** TDH.MEM.SEPT.RD: an entry of the secure EPT, as a host may see it. RCX: GPA and level, RDX: TDR. */
export function memSeptRd(call: Call): void {
  const { walk } = walkToOperand(call);
  call.out.rcx = architecturalEntry(walk.entry);
  call.out.rdx = architecturalInfo(walk.entry, walk.level);
}
