import { GUEST_RULES } from '../../rulebook/guest.js';
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
  rule: string;
}

type ExceptionRule = 'module.xsetbv.index' | 'module.xsetbv.xfam' | 'module.xsetbv.combination' | 'module.wrmsr.xss';

export const guestException = (id: ExceptionRule | 'module.cpuid.ve'): GuestException => ({
  vector: GUEST_RULES[id].exception!,
  rule: id,
});
