import { TDX_OPERANDS, type TdxOperandName, type TdxStatusName, tdxStatus } from '../../kvm/status.js';
import { SEAMCALL_RULES } from '../../rulebook/seamcalls.js';
import { TDCALL_RULES } from '../../rulebook/tdcalls.js';

export type SeamcallRuleId = keyof typeof SEAMCALL_RULES;
export type TdcallRuleId = keyof typeof TDCALL_RULES;

const CALL_RULES = { ...SEAMCALL_RULES, ...TDCALL_RULES };

/** Ends a SEAMCALL or a TDCALL. Thrown inside the module storey only: deliberately no Error, whose stack costs more than the call. */
export class Refusal {
  constructor(
    readonly status: bigint,
    readonly rule: string,
  ) {}
}

/** The refusal of `id`; `low` goes into the lower half of the status: an operand's name or a number (MSR, x2APIC id). */
export function refuse(id: SeamcallRuleId | TdcallRuleId, low: TdxOperandName | number = 0): Refusal {
  const rule = CALL_RULES[id];
  return new Refusal(
    tdxStatus(rule.status as TdxStatusName, typeof low === 'number' ? low : TDX_OPERANDS[low]),
    rule.id,
  );
}
