import { getRandomValues } from 'node:crypto';
import { MODULE_STOPPED } from './boot-status.js';
import type { Call } from './call.js';
import { HKID } from './kot.js';
import { TD_PARAMS_SIZE } from './mng-init.js';
import { MrtdBuilder } from './mrtd.js';
import { OP_STATE, opStateAllows } from './op-state.js';
import { PT } from './pamt.js';
import { Refusal, refuse } from './refusal.js';
import { LIFECYCLE, MAX_TDCX, MIN_TDCX, Td } from './td.js';

/** TDH.MNG.CREATE: a free page becomes the TDR of a new TD that owns a private KeyID. RCX: page, RDX: KeyID. */
export function mngCreate(call: Call): void {
  const { kot, tds } = call.module;
  const hkid = call.rdx < 0x1_0000n ? Number(call.rdx) : -1;
  const owner = kot.get(hkid);
  if (!owner) throw refuse('module.hkid.private', 'RDX');
  const page = call.page(call.rcx, 'RCX', PT.NDA, true);
  if (owner.state !== HKID.FREE) throw refuse('module.hkid.free');
  owner.state = HKID.ASSIGNED;
  page.type = PT.TDR;
  tds.set(page.pa, new Td(page.pa, hkid, getRandomValues(new BigUint64Array(4))));
}

/** TDH.MNG.ADDCX: a free page becomes part of the TDCS. RCX: page, RDX: TDR. */
export function mngAddCx(call: Call): void {
  const td = call.td(call.rdx, 'RDX', true);
  if (td.fatal) throw refuse('module.td.fatal');
  if (td.lifecycle !== LIFECYCLE.KEYS_CONFIGURED) throw refuse('module.td.keys-configured');
  if (td.tdcxPages.length >= MAX_TDCX) throw refuse('module.mng.tdcx-max');
  const page = call.page(call.rcx, 'RCX', PT.NDA, true);
  // OP_STATE lies in the TDCS, so it can be looked at only once the TDCS is there.
  if (td.tdcxPages.length >= MIN_TDCX && !opStateAllows(call.leaf, td.opState)) throw refuse('module.td.op-state');
  td.tdcxPages.push(page.pa);
  td.children++;
  page.type = PT.TDCX;
  page.owner = td.tdrPa;
}

/** TDH.MNG.INIT: TD_PARAMS become the TD's configuration. RCX: TDR, RDX: TD_PARAMS. */
export function mngInit(call: Call): void {
  call.out.rcx = 0n;
  const td = call.td(call.rcx, 'RCX', true);
  call.checkState(td);
  const address = call.sharedPa(call.rdx, 'RDX', TD_PARAMS_SIZE);
  const { initTd, memory, tsc } = call.module;
  const offset = address % 4096;
  const params = memory.page(BigInt(address - offset)).slice(offset, offset + TD_PARAMS_SIZE);
  const result = initTd(params, td.tdcxPages.length);
  call.out.rcx = result.rcx;
  if (result.status === MODULE_STOPPED) call.module.stopped = true;
  if (!result.td) throw new Refusal(result.status, result.rule!);

  td.configuration = result.td;
  td.hpLockTimeout = result.td.hpLockTimeout;
  td.tdCtls = result.td.tdCtls;
  // The guest's TSC starts at 0.
  td.tscOffset = BigInt.asUintN(64, -((tsc() * result.td.tscMultiplier) >> 48n));
  td.measurement = new MrtdBuilder();
  td.opState = OP_STATE.INITIALIZED;
}
