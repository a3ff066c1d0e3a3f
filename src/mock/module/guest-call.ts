import { GUEST_RULES } from '../../rulebook/guest.js';
import { TDCALL_RULES } from '../../rulebook/tdcalls.js';
import type { ModuleBoot } from './boot.js';
import type { Vcpu } from './td.js';

/** A VCPU inside its TD, about to execute something that the module handles. */
export interface GuestCall {
  readonly module: ModuleBoot;
  readonly vcpu: Vcpu;
}

/** The exception that a guest gets, and the rule it broke. */
export interface GuestException {
  vector: number;
  rule: GuestRuleId;
}

export type GuestRuleId = keyof typeof GUEST_RULES | keyof typeof TDCALL_RULES;

const RULES = { ...GUEST_RULES, ...TDCALL_RULES };

export const guestException = (id: GuestRuleId): GuestException => ({
  vector: RULES[id].exception!,
  rule: id,
});
