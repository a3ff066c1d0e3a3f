import { writeGuestField } from '../../cpuid/index.js';
import type { RuleId } from '../../rulebook/index.js';
import { ruleStatus } from './boot-status.js';
import { featuresOf } from './facts-of.js';
import type { GuestCall } from './guest-call.js';
import { checkSingleElement, fieldClass, fieldCode, findField } from './metadata.js';
import { tdFields } from './metadata-td.js';
import { Refusal } from './refusal.js';

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

/** Whether the id names one element of a field that this module has. */
function isField({ module }: GuestCall, id: bigint): boolean {
  try {
    checkSingleElement(id);
    findField(tdFields(featuresOf(module)), id);
    return true;
  } catch (error) {
    if (error instanceof Refusal) return false;
    throw error;
  }
}

/**
 * TDG.VM.WR (tdg_vm_rd_wr.c): the guest writes a field of its TD; R8 of the result is the value before. The fields that
 * it can write here are those of the rules document (TD_CTLS, FEATURE_PARAVIRT_CTLS); others are as if it could not.
 */
export function tdgVmWr(call: GuestCall, { rcx = 0n, rdx, r8, r9 }: VmWrArgs): TdcallResult {
  const { host, rules } = call.module;
  const { td } = call.vcpu;
  if (rcx !== 0n) return refused('module.vm-wr.vm');
  if (!isField(call, rdx)) return refused('module.vm-wr.field-id');
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
