import type { Call } from './call.js';
import { checkGpaAndLevel, septFailure, walkExactly } from './gpa.js';
import { opStateTracksTlb } from './op-state.js';
import { PAGE_2M, PAGE_4K, type PamtEntry, PT } from './pamt.js';
import { refuse } from './refusal.js';
import type { SeptEntry, SeptWalk } from './sept.js';
import { isBlocked, SEPT, septStateAllows } from './sept-state.js';
import type { Td } from './td.js';

const ZERO_PAGE = Buffer.alloc(PAGE_4K);

/** TDH.MEM.PAGE.ADD: copies a page into the TD before it is finalised. RCX: GPA, RDX: TDR, R8: free page, R9: source. */
export function memPageAdd(call: Call): void {
  call.out.rcx = 0n;
  call.out.rdx = 0n;
  const { memory, pamt } = call.module;
  const td = call.td(call.rdx, 'RDX', true);
  call.checkState(td);
  const { gpa } = checkGpaAndLevel(call, td, 0, 0);
  const walk = walkExactly(call, td, gpa, 0);
  checkEntry(call, walk);
  const source = call.sharedPa(call.r9, 'R9', PAGE_4K);
  const page = call.page(call.r8, 'R8', PT.NDA, true);

  const bytes = memory.page(BigInt(source));
  if (!ZERO_PAGE.equals(bytes)) pamt.fill(page.pa, bytes);
  walk.table[walk.index] = { state: SEPT.MAPPED, hpa: page.pa };
  assign(td, page);
  td.measurement!.pageAdd(gpa);
}

/** TDH.MEM.PAGE.AUG: gives the TD a zeroed page that the guest must accept. RCX: GPA and level, RDX: TDR, R8: free page. */
export function memPageAug(call: Call): void {
  call.out.rcx = 0n;
  call.out.rdx = 0n;
  const td = call.td(call.rdx, 'RDX', false);
  call.checkState(td);
  const { gpa, level } = checkGpaAndLevel(call, td, 0, 1);
  const walk = walkExactly(call, td, gpa, level);
  checkEntry(call, walk);
  const page = level === 0 ? call.page(call.r8, 'R8', PT.NDA, true) : largePage(call);
  walk.table[walk.index] = { state: SEPT.PENDING, hpa: page.pa };
  assign(td, page);
}

/** TDH.MEM.PAGE.REMOVE: takes a page away; while VCPUs may run it must be blocked and tracked. RCX: GPA and level, RDX: TDR. */
export function memPageRemove(call: Call): void {
  call.out.rcx = 0n;
  call.out.rdx = 0n;
  const { pamt } = call.module;
  const td = call.td(call.rdx, 'RDX', false);
  call.checkState(td);
  const { gpa, level } = checkGpaAndLevel(call, td, 0, 2);
  const walk = walkExactly(call, td, gpa, level);
  const entry = checkEntry(call, walk);
  const page = pamt.entry(entry!.hpa, level === 0 ? 0 : 1);
  checkTracked(call, td, walk, page);

  walk.table[walk.index] = undefined;
  td.children -= 512 ** level;
  pamt.free(page);
  pamt.tidy(page);
  call.out.rcx = BigInt(page.pa);
}

function assign(td: Td, page: PamtEntry): void {
  td.children += 512 ** page.size;
  page.type = PT.REG;
  page.owner = td.tdrPa;
  page.bepoch = 0n;
}

/** A free, aligned 2 MiB range at R8. */
function largePage(call: Call): PamtEntry {
  const { pamt } = call.module;
  const address = call.privatePa(call.r8, 'R8', PAGE_2M);
  if (!pamt.covers(address)) throw refuse('module.page.in-tdmr', 'R8');
  const entry = pamt.entry(address, 1);
  call.locks.take(entry, true, 'R8');
  if (entry.type !== PT.NDA || pamt.rangeInUse(address)) throw refuse('module.page.type', 'R8');
  return entry;
}

/** The entry is in a state that serves this leaf. */
export function checkEntry(call: Call, walk: SeptWalk): SeptEntry | undefined {
  if (!septStateAllows(call.leaf, walk.entry?.state ?? SEPT.FREE))
    throw septFailure(call, walk, 'module.sept.state', 'RCX');
  return walk.entry;
}

/** Nobody can still hold a translation through the entry: it is blocked, and its epoch is over. */
export function checkTracked(call: Call, td: Td, walk: SeptWalk, page: PamtEntry): void {
  if (!opStateTracksTlb(td.opState)) return;
  if (!isBlocked(walk.entry!.state)) throw septFailure(call, walk, 'module.sept.blocked', 'RCX');
  if (!td.isTracked(page.bepoch)) throw refuse('module.sept.tracked', 'RCX');
}
