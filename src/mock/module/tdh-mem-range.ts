import type { Call } from './call.js';
import { septFailure, walkToOperand } from './gpa.js';
import { opStateTracksTlb } from './op-state.js';
import type { PamtEntry } from './pamt.js';
import { refuse } from './refusal.js';
import type { SeptWalk } from './sept.js';
import { blocked, isBlocked, isLeafState, SEPT, septStateAllows, unblocked } from './sept-state.js';
import { checkEntry } from './tdh-mem-page.js';

/** The page that an entry maps: a table is always 4 KiB. */
const mappedPage = (call: Call, walk: SeptWalk): PamtEntry => {
  const { state, hpa } = walk.entry!;
  return call.module.pamt.entry(hpa, isLeafState(state) && walk.level > 0 ? 1 : 0);
};

/** TDH.MEM.RANGE.BLOCK: no new translation of a page or table is made. RCX: GPA and level, RDX: TDR. */
export function memRangeBlock(call: Call): void {
  const { td, walk, gpa } = walkToOperand(call);
  const state = walk.entry?.state ?? SEPT.FREE;
  if (!septStateAllows(call.leaf, state))
    throw septFailure(call, walk, isBlocked(state) ? 'module.range-block.once' : 'module.sept.state', 'RCX');
  td.guest?.blocking(walk, gpa);
  walk.entry!.state = blocked(state);
  mappedPage(call, walk).bepoch = td.epoch;
}

/** TDH.MEM.RANGE.UNBLOCK: takes a block back. RCX: GPA and level, RDX: TDR. */
export function memRangeUnblock(call: Call): void {
  const { td, walk, gpa } = walkToOperand(call);
  const entry = checkEntry(call, walk)!;
  if (opStateTracksTlb(td.opState) && !td.isTracked(mappedPage(call, walk).bepoch))
    throw refuse('module.sept.tracked', call.module.facts.features.unblockOperand);
  entry.state = unblocked(entry.state);
  if (entry.state !== SEPT.PENDING) td.guest?.mapped(walk, gpa);
}

/** TDH.MEM.TRACK: starts a new TLB epoch; the one before the current must have no VCPU inside. RCX: TDR. */
export function memTrack(call: Call): void {
  const td = call.td(call.rcx, 'RCX', false);
  call.checkState(td);
  const previous = td.epoch & 1n ? 0 : 1;
  if (td.refcount[previous] !== 0) throw refuse('module.mem-track.previous-epoch');
  td.epoch++;
}
