import { TDVMCALL_STATUS } from '../../../kvm/constants.js';
import { RULES, type RuleId } from '../../../rulebook/index.js';
import type { TdRun } from './td-run.js';

/** tdvmcall_set_return_code(): the rule's status for the guest, in R10. */
export function refuseCall({ regs }: TdRun, rule: RuleId): 'enter' {
  regs.r10 = TDVMCALL_STATUS[RULES[rule].status as keyof typeof TDVMCALL_STATUS];
  return 'enter';
}
