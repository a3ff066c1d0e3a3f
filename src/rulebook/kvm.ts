import { KVM_PLAIN_RULES } from './kvm-plain.js';
import { KVM_RUN_RULES } from './kvm-run.js';
import { KVM_TDX_RULES } from './kvm-tdx.js';
import { KVM_VM_RULES } from './kvm-vm.js';

/** What KVM checks on the requests around a TD and of a running one, apart from KVM_TDX_INIT_VM (init-vm.ts). */
export const KVM_RULES = { ...KVM_VM_RULES, ...KVM_TDX_RULES, ...KVM_RUN_RULES, ...KVM_PLAIN_RULES };
