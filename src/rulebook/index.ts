import { CONFIG_RULES } from './config.js';
import { CONTROL_REGISTER_RULES } from './control-registers.js';
import { GUEST_RULES } from './guest.js';
import { INIT_VM_RULES, TRAP_RULES } from './init-vm.js';
import { KVM_RULES } from './kvm.js';
import { MNG_INIT_RULES } from './mng-init.js';
import { SEAMCALL_RULES } from './seamcalls.js';
import { SYS_INIT_RULES } from './sys-init.js';
import { TDCALL_RULES } from './tdcalls.js';

export type { Rule } from './rule.js';
export {
  CONFIG_RULES,
  CONTROL_REGISTER_RULES,
  GUEST_RULES,
  INIT_VM_RULES,
  KVM_RULES,
  MNG_INIT_RULES,
  SEAMCALL_RULES,
  SYS_INIT_RULES,
  TDCALL_RULES,
  TRAP_RULES,
};

/** Every rule that the validator enforces or the model obeys, by id. */
export const RULES = {
  ...CONFIG_RULES,
  ...CONTROL_REGISTER_RULES,
  ...GUEST_RULES,
  ...INIT_VM_RULES,
  ...KVM_RULES,
  ...MNG_INIT_RULES,
  ...SEAMCALL_RULES,
  ...SYS_INIT_RULES,
  ...TDCALL_RULES,
  ...TRAP_RULES,
};

export type RuleId = keyof typeof RULES;
