import { writeGuestField } from '../../cpuid/index.js';
import type { RuleId } from '../../rulebook/index.js';
import { ruleStatus } from './boot-status.js';
import { featuresOf } from './facts-of.js';
import type { GuestCall } from './guest-call.js';
import { checkSingleElement, fieldClass, fieldCode, findField } from './metadata.js';
import { CPUID_CLASS, cpuidElement, tdFields } from './metadata-td.js';
import { Refusal } from './refusal.js';
import type { Td } from './td.js';

/** Input registers of TDG.VM.WR. */
export interface VmWrArgs {
  /** 0: the TD itself. */
  rcx?: bigint;
  /** Field id. */
  rdx: bigint;
  /** Value. */
  r8: bigint;
  /** Mask. */
  r9: bigint;
}

/** Output registers of a TDCALL that this model has. */
export interface TdcallResult {
  status: bigint;
  r8: bigint;
  /** The rulebook entry that refused the call, where one did. */
  rule?: RuleId;
}

const refused = (rule: RuleId): TdcallResult => ({ status: ruleStatus(rule), r8: 0n, rule });

/** The field of this module that the id names one element of, by name, or the rule that the id breaks. */
function fieldName({ module, vcpu }: GuestCall, id: bigint): { name: string } | { rule: RuleId } {
  const features = featuresOf(module);
  const isCpuid = fieldClass(id) === CPUID_CLASS;
  try {
    checkSingleElement(id);
    const { row } = findField(tdFields(features), id, isCpuid ? fieldCode(id) & 1 : fieldCode(id));
    if (isCpuid) cpuidElement(vcpu.td.configuration!, fieldCode(id), features);
    return { name: row.name };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    const rule = error.rule as RuleId;
    return { rule: rule === 'module.metadata.id' ? 'module.vm-wr.field-id' : rule };
  }
}

/**
 * TDG.VM.WR (tdg_vm_rd_wr.c): the guest writes a field of its TD; R8 of the result is the value before. The fields that
 * it can write here are those of the rules document (TD_CTLS, FEATURE_PARAVIRT_CTLS) and NOTIFY_ENABLES.
 */
export function tdgVmWr(call: GuestCall, { rcx = 0n, rdx, r8, r9 }: VmWrArgs): TdcallResult {
  const { host, rules } = call.module;
  const { td } = call.vcpu;
  if (rcx !== 0n) return refused('module.vm-wr.vm');
  const found = fieldName(call, rdx);
  if ('rule' in found) return refused(found.rule);
  if (found.name === 'NOTIFY_ENABLES') return writeNotifyEnables(td, r8, r9);
  const field = rules.guestFields.find(
    ({ id }) => fieldClass(id) === fieldClass(rdx) && fieldCode(id) === fieldCode(rdx),
  );
  const writable = field?.writable ?? 0n;
  const bits = writable & r9;
  if (!field || bits === 0n) return refused('module.vm-wr.writable');
  const old = field.name === 'td_ctls' ? td.tdCtls : td.featureParavirtCtls;
  if ((old ^ r8) & r9 & ~writable) return refused('module.vm-wr.forbidden-bits');

  const { tdCtls, topologyEnumConfigured } = td;
  const { configFlags } = td.configuration!;
  const state = { configFlags, tdCtls, topologyEnumConfigured };
  const result = writeGuestField(host, field, state, (old & ~bits) | (r8 & bits));
  if ('rule' in result) return refused(result.rule as RuleId);
  if (field.name === 'td_ctls') td.tdCtls = result.value;
  else td.featureParavirtCtls = result.value;
  return { status: 0n, r8: old };
}

const NOTIFY_ENABLES = 1n;

function writeNotifyEnables(td: Td, value: bigint, mask: bigint): TdcallResult {
  const old = td.notifyEnables;
  if ((mask & NOTIFY_ENABLES) === 0n) return refused('module.vm-wr.writable');
  if ((old ^ value) & mask & ~NOTIFY_ENABLES) return refused('module.vm-wr.forbidden-bits');
  td.notifyEnables = value & NOTIFY_ENABLES;
  return { status: 0n, r8: old };
}
