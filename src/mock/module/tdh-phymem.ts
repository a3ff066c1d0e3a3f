import type { Call } from './call.js';
import { PAGE_2M, type PamtEntry, PT } from './pamt.js';
import { refuse } from './refusal.js';
import { LIFECYCLE } from './td.js';

/** Locks the page at RCX whatever its type and size; outputs are cleared first. */
function anyPage(call: Call, exclusive: boolean): PamtEntry {
  Object.assign(call.out, { rcx: 0n, rdx: 0n, r8: 0n, r9: 0n, r10: 0n, r11: 0n });
  const address = call.privatePa(call.rcx, 'RCX');
  const { pamt } = call.module;
  if (!pamt.covers(address)) throw refuse('module.page.in-tdmr', 'RCX');
  const entry = pamt.leaf(address);
  call.locks.take(entry, exclusive, 'RCX');
  return entry;
}

function describe(call: Call, page: PamtEntry): void {
  call.out.rcx = BigInt(page.type);
  call.out.rdx = BigInt(page.owner);
  call.out.r8 = BigInt(page.size);
}

/** TDH.PHYMEM.PAGE.RDMD: type, owner, size and block epoch of a page. RCX: page. */
export function phymemPageRdmd(call: Call): void {
  const page = anyPage(call, false);
  describe(call, page);
  if (page.type === PT.REG || page.type === PT.EPT) call.out.r9 = page.bepoch;
}

/** TDH.PHYMEM.PAGE.RECLAIM: takes a page back from a TD in teardown; its TDR comes last. RCX: page. */
export function phymemPageReclaim(call: Call): void {
  const page = anyPage(call, true);
  if (page.type === PT.NDA || page.type === PT.RSVD) throw refuse('module.reclaim.assigned', 'RCX');
  describe(call, page);
  if (page.size === 1 && call.rcx % BigInt(PAGE_2M) !== 0n) throw refuse('module.page.address', 'RCX');
  const { pamt, tds, vcpus } = call.module;
  const isTdr = page.type === PT.TDR;
  if (!isTdr) call.locks.take(pamt.entry(page.owner), false, 'TDR');
  const td = tds.get(isTdr ? page.pa : page.owner)!;
  if (td.lifecycle !== LIFECYCLE.TEARDOWN) throw refuse('module.reclaim.lifecycle');
  if (isTdr) {
    if (td.children !== 0) throw refuse('module.reclaim.children');
    tds.delete(page.pa);
  } else {
    td.children -= 512 ** page.size;
    if (page.type === PT.TDVPR) vcpus.delete(page.pa);
  }
  pamt.free(page);
}

/** TDH.PHYMEM.PAGE.WBINVD: writes back the cache lines of a free page for any KeyID. RCX: page with KeyID. */
export function phymemPageWbinvd(call: Call): void {
  call.page(call.rcx & ~call.module.facts.hkidMask, 'RCX', PT.NDA, false);
}
