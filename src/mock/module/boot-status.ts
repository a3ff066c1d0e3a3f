import { TDX_OPERANDS, type TdxOperandName, type TdxStatusName, tdxStatus } from '../../kvm/status.js';
import { RULES, type RuleId } from '../../rulebook/index.js';

/**
 * What SEAMCALL gives once the module has stopped because an internal check failed: it never answers again
 * (TDX_SEAMCALL_VMFAILINVALID of the kernel's arch/x86/include/asm/tdx.h).
 */
export const MODULE_STOPPED = 0x8000_ff00_ffff_0000n;

/** Why the module refuses: a rulebook entry and what goes with the status. */
export interface BootRefusal {
  rule: RuleId;
  /** Lower half of the status where it is no operand. */
  details?: number;
  rcx?: bigint;
}

/** The status that goes with a rule; a rule that has none stops the module. */
export function ruleStatus(rule: RuleId, details = 0): bigint {
  const { status, operand } = RULES[rule];
  if (status === undefined) return MODULE_STOPPED;
  const low = operand === undefined ? details : TDX_OPERANDS[operand as TdxOperandName];
  return tdxStatus(status as TdxStatusName, low);
}
