import type { Call } from './call.js';
import { gpaWidth } from './gpa.js';
import { PT } from './pamt.js';
import { refuse } from './refusal.js';
import { LIFECYCLE, MAX_TDVPS, type Td, VCPU_STATE, Vcpu } from './td.js';

/** TDH.VP.CREATE: a free page becomes the TDVPR of a new VCPU. RCX: page, RDX: TDR. */
export function vpCreate(call: Call): void {
  const td = call.td(call.rdx, 'RDX', false);
  call.checkState(td);
  const page = call.page(call.rcx, 'RCX', PT.NDA, true);
  page.type = PT.TDVPR;
  page.owner = td.tdrPa;
  td.children++;
  call.module.vcpus.set(page.pa, new Vcpu(td, page.pa));
}

/** TDH.VP.ADDCX: a free page becomes part of the TDVPS. RCX: page, RDX: TDVPR. */
export function vpAddCx(call: Call): void {
  const vcpu = call.vcpu(call.rdx, 'RDX', true);
  const { td } = vcpu;
  call.checkState(td);
  if (vcpu.state !== VCPU_STATE.UNINITIALIZED) throw refuse('module.vp.uninitialized');
  if (vcpu.pages.length >= MAX_TDVPS) throw refuse('module.vp.tdvps-max');
  const page = call.page(call.rcx, 'RCX', PT.NDA, true);
  page.type = PT.TDCX;
  page.owner = td.tdrPa;
  td.children++;
  vcpu.pages.push(page.pa);
}

/** TDH.VP.INIT: the VCPU is ready to run. RCX: TDVPR, RDX: initial RCX and R8, version 1: x2APIC id in R8. */
export function vpInit(call: Call): void {
  const vcpu = call.vcpu(call.rcx, 'RCX', true);
  const { td } = vcpu;
  call.checkState(td);
  call.checkTdvps(vcpu);
  if (vcpu.state !== VCPU_STATE.UNINITIALIZED) throw refuse('module.vp.uninitialized');
  if (td.numVcpus >= td.configuration!.maxVcpus) throw refuse('module.vp-init.max-vcpus');
  vcpu.index = td.numVcpus++;
  if (call.version === 0) td.topologyEnumConfigured = false;
  else takeX2apicId(call, td, vcpu);

  vcpu.state = VCPU_STATE.READY;
  vcpu.associated = true;
  td.numAssociatedVcpus++;
  td.vcpus.push(vcpu);
  const { gprs } = vcpu;
  gprs[1] = call.rdx;
  gprs[2] = BigInt(call.module.facts.platformFms);
  gprs[3] = BigInt(gpaWidth(td));
  gprs[6] = BigInt(vcpu.index);
  gprs[8] = call.rdx;
}

function takeX2apicId(call: Call, td: Td, vcpu: Vcpu): void {
  if (call.r8 >> 32n !== 0n) {
    td.numVcpus--;
    throw refuse('module.vp-init.x2apic-id', 'R8');
  }
  const id = Number(call.r8);
  for (let i = 0; i < vcpu.index; i++) {
    if ((td.x2apicIds[i] ?? 0) !== id) continue;
    if (!call.module.facts.features.refusedVcpusCount) td.numVcpus--;
    throw refuse('module.vp-init.x2apic-unique', id);
  }
  td.x2apicIds[vcpu.index] = id;
  vcpu.x2apicId = id;
}

/** TDH.VP.FLUSH: the VCPU is associated with no logical processor any more. RCX: TDVPR. */
export function vpFlush(call: Call): void {
  const vcpu = call.vcpu(call.rcx, 'RCX', true);
  const { td } = vcpu;
  if (td.lifecycle !== LIFECYCLE.KEYS_CONFIGURED) throw refuse('module.td.keys-configured');
  call.checkTdvps(vcpu);
  if (!vcpu.associated) throw refuse('module.vp-flush.associated');
  vcpu.associated = false;
  td.numAssociatedVcpus--;
}

/** Associates a ready VCPU with the calling processor; true where it was not before. */
export function associate(vcpu: Vcpu, allowDisabled: boolean): boolean {
  const { state, td } = vcpu;
  if (state !== VCPU_STATE.READY && !(allowDisabled && state === VCPU_STATE.DISABLED)) throw refuse('module.vp.ready');
  if (vcpu.associated) return false;
  vcpu.associated = true;
  td.numAssociatedVcpus++;
  return true;
}
