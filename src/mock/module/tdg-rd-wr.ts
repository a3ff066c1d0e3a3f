import { GUEST_TD_FIELDS, GUEST_VP_FIELDS } from './fields-guest.js';
import { GPR } from './gpr.js';
import type { Guest } from './guest-context.js';
import {
  CONTEXT,
  checkReadId,
  findGuestField,
  guestFields,
  NO_FIELD,
  nextElement,
  withContext,
} from './guest-fields.js';
import { checkSingleElement, fieldClass, fieldCode, findField, notValid } from './metadata.js';
import { CPUID_CLASS, cpuidElement, readTdField, tdFields } from './metadata-td.js';
import { readVpField, storeVpField, vpField } from './metadata-vp.js';
import { Refusal, refuse } from './refusal.js';
import type { Td } from './td.js';
import { tdgVmWr as writeTdField } from './tdg-vm-wr.js';

const LATEST_VM_RD = 1;

/**
 * TDG.VM.RD: a field of the TD. RCX: 0, RDX: field id; R8: value, with version 1 the id of the next field in RDX (tdg_vm_rd_wr.c).
 */
export function tdgVmRd(guest: Guest, version: number): undefined {
  const { cpu, td, state } = guest;
  const { gprs } = cpu;
  const id = withContext(gprs[GPR.RDX]!, CONTEXT.TD);
  if (version > 0) gprs[GPR.RDX] = NO_FIELD;
  gprs[GPR.R8] = 0n;
  if (version > LATEST_VM_RD) throw refuse('module.tdcall.version', 'RAX');
  if (gprs[GPR.RCX] !== 0n) throw refuse('module.vm-rd.vm', 'RCX');
  const rows = guestFields(GUEST_TD_FIELDS, state.facts.features);
  if (version > 0) checkReadId(rows, id, (next) => (gprs[GPR.RDX] = next));
  else checkSingleElement(id);

  const { features } = state.facts;
  const isCpuid = fieldClass(id) === CPUID_CLASS;
  const element = findField(tdFields(features), id, isCpuid ? fieldCode(id) & 1 : fieldCode(id));
  if (isCpuid) cpuidElement(td.configuration!, fieldCode(id), features);
  const mask = findGuestField(rows, id)?.read ?? 0n;
  if (mask === 0n) throw refuse('module.metadata.guest-readable');
  gprs[GPR.R8] = readTdField({ module: state }, td, element.row, element.index) & mask;
  if (version > 0) gprs[GPR.RDX] = nextElement(rows, id);
}

/** TDG.VM.WR: RCX: 0, RDX: field id, R8: value, R9: mask; R8 out: the value before. */
export function tdgVmWr(guest: Guest): undefined {
  const { gprs } = guest.cpu;
  const [rcx, rdx, r8, r9] = [gprs[GPR.RCX]!, gprs[GPR.RDX]!, gprs[GPR.R8]!, gprs[GPR.R9]!];
  const result = writeTdField(guest, { rcx, rdx, r8, r9 });
  gprs[GPR.R8] = result.r8;
  if (result.rule) throw new Refusal(result.status, result.rule);
}

const TD_CTLS_LOCK = 1n << 63n;
const isLocked = ({ tdCtls }: Td, veReduction: boolean): boolean => veReduction && (tdCtls & TD_CTLS_LOCK) !== 0n;

/** TDG.VP.RD: a field of this VCPU. RCX: 0, RDX: field id; R8: value, RDX: the id of the next field (tdg_vp_rd_wr.c). */
export function tdgVpRd(guest: Guest): undefined {
  const { cpu, vcpu, state } = guest;
  const { gprs } = cpu;
  const id = withContext(gprs[GPR.RDX]!, CONTEXT.VP);
  gprs[GPR.RDX] = NO_FIELD;
  gprs[GPR.R8] = 0n;
  if (gprs[GPR.RCX] !== 0n) throw refuse('module.vp-rd.rcx', 'RCX');
  const rows = guestFields(GUEST_VP_FIELDS, state.facts.features);
  checkReadId(rows, id, (next) => (gprs[GPR.RDX] = next));
  const element = vpField(id);
  const mask = findGuestField(rows, id)?.read ?? 0n;
  if (mask === 0n) throw refuse('module.metadata.guest-readable');
  gprs[GPR.R8] = readVpField({ module: state }, vcpu, element) & mask;
  gprs[GPR.RDX] = nextElement(rows, id);
}

/** Bits of VCPU fields that a guest writes; L2_CTLS and TSC_DEADLINE are for L2 VMs, and without effect here. */
const VP_WRITABLE: Readonly<Record<string, bigint>> = {
  CPUID_SUPERVISOR_VE: 0xffn,
  CPUID_USER_VE: 0xffn,
  TSC_DEADLINE: NO_FIELD,
  CPUID_CONTROL: 3n,
};
const L2_CTLS = { old: 7n, topology: 3n } as const;

/** TDG.VP.WR: RCX: 0, RDX: field id, R8: value, R9: mask; R8 out: the value before. */
export function tdgVpWr(guest: Guest): undefined {
  const { cpu, vcpu, td, state } = guest;
  const { gprs } = cpu;
  const [id, value, requested] = [withContext(gprs[GPR.RDX]!, CONTEXT.VP), gprs[GPR.R8]!, gprs[GPR.R9]!];
  gprs[GPR.R8] = 0n;
  if (gprs[GPR.RCX] !== 0n) throw refuse('module.vp-rd.rcx', 'RCX');
  checkSingleElement(id);
  const element = vpField(id);
  const { vpInitVersion, veReduction } = state.facts.features;
  const { name, full } = element.row;
  const writable = name === 'L2_CTLS' ? L2_CTLS[vpInitVersion > 0 ? 'topology' : 'old'] : (VP_WRITABLE[name] ?? 0n);
  const bits = writable & requested;
  if (bits === 0n) throw refuse('module.metadata.guest-writable');
  const old = readVpField({ module: state }, vcpu, element);
  // A write of the whole element does not look at the old value.
  const base = bits === full ? 0n : old;
  // Bits beyond the element's size are there to be kept, too: as 0.
  if ((base ^ value) & requested & ~writable) throw notValid();
  const next = (base & ~bits) | (value & bits);
  if (name.startsWith('CPUID_') && isLocked(td, veReduction) && next !== old) throw notValid();
  storeVpField(vcpu, element, next);
  gprs[GPR.R8] = old;
}
