import type { Call } from './call.js';
import { HKID } from './kot.js';
import { OP_STATE } from './op-state.js';
import { refuse } from './refusal.js';
import { closeGuest, LIFECYCLE, MIN_TDCX, type Td } from './td.js';

const ownerOf = (call: Call, td: Td) => call.module.kot.get(td.hkid)!;

/** TDH.MNG.KEY.CONFIG: gives the TD's KeyID a key on the package of the calling processor. RCX: TDR. */
export function mngKeyConfig(call: Call): void {
  const td = call.td(call.rcx, 'RCX', true);
  if (td.fatal) throw refuse('module.td.fatal');
  if (td.lifecycle !== LIFECYCLE.HKID_ASSIGNED) throw refuse('module.key-config.lifecycle');
  if (td.keyedPackages.has(call.package)) throw refuse('module.key-config.once');
  td.keyedPackages.add(call.package);
  if (td.keyedPackages.size === call.module.facts.packages) td.lifecycle = LIFECYCLE.KEYS_CONFIGURED;
}

/** TDH.MNG.VPFLUSHDONE: no VCPU is associated any more; the KeyID waits for its cache write-back. RCX: TDR. */
export function mngVpFlushDone(call: Call): void {
  const td = call.td(call.rcx, 'RCX', true);
  if (td.lifecycle !== LIFECYCLE.KEYS_CONFIGURED && td.lifecycle !== LIFECYCLE.HKID_ASSIGNED)
    throw refuse('module.vpflushdone.lifecycle');
  const initialized = td.tdcxPages.length >= MIN_TDCX && td.opState !== OP_STATE.UNINITIALIZED;
  if (initialized && td.numAssociatedVcpus !== 0) throw refuse('module.vpflushdone.associated');
  const owner = ownerOf(call, td);
  for (let i = 0; i < call.module.facts.packages; i++) owner.dirtyPackages.add(i);
  owner.state = HKID.FLUSHED;
  closeGuest(td);
  td.lifecycle = LIFECYCLE.BLOCKED;
}

const CACHE_WB = { START: 0n, RESUME: 1n } as const;

/** TDH.PHYMEM.CACHE.WB: writes back the caches of this package for all flushed KeyIDs. RCX: 0 start, 1 resume. */
export function phymemCacheWb(call: Call): void {
  if (call.rcx > CACHE_WB.RESUME) throw refuse('module.cache-wb.command', 'RCX');
  // Here nothing interrupts a write-back, so there is never one to resume.
  if (call.rcx === CACHE_WB.RESUME) throw refuse('module.cache-wb.resume');
  const flushed = call.module.kot.flushed();
  if (flushed.length === 0) throw refuse('module.cache-wb.flushed');
  for (const entry of flushed) entry.dirtyPackages.delete(call.package);
}

/** TDH.MNG.KEY.FREEID: the KeyID is free again, the TD's pages can be reclaimed. RCX: TDR. */
export function mngKeyFreeId(call: Call): void {
  const td = call.td(call.rcx, 'RCX', true);
  if (td.lifecycle !== LIFECYCLE.BLOCKED) throw refuse('module.freeid.lifecycle');
  const owner = ownerOf(call, td);
  if (owner.dirtyPackages.size !== 0) throw refuse('module.freeid.written-back');
  owner.state = HKID.FREE;
  td.lifecycle = LIFECYCLE.TEARDOWN;
}

/** TDH.MNG.KEY.RECLAIMID: kept for old hosts; does nothing. */
export function mngKeyReclaimId(): void {}
