import { TDX_OPERANDS, type TdxOperandName, type TdxStatusName, tdxStatus } from '../../kvm/status.js';
import { SEAMCALL_RULES } from '../../rulebook/seamcalls.js';

export type SeamcallRuleId = keyof typeof SEAMCALL_RULES;

/** Ends a SEAMCALL. Thrown inside the module storey only: deliberately no Error, whose stack costs more than the call. */
export class Refusal {
  constructor(
    readonly status: bigint,
    readonly rule: string,
  ) {}
}

/** The refusal of `id`; `low` goes into the lower half of the status: an operand's name or a number (MSR, x2APIC id). */
export function refuse(id: SeamcallRuleId, low: TdxOperandName | number = 0): Refusal {
  const rule = SEAMCALL_RULES[id];
  return new Refusal(
    tdxStatus(rule.status as TdxStatusName, typeof low === 'number' ? low : TDX_OPERANDS[low]),
    rule.id,
  );
}
