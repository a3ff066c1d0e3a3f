import { KVM_CAP } from '../../../kvm/constants.js';
import type { KvmVm, MsrFilter } from '../../../kvm/vm.js';

const both = { read: true, write: true, allow: true };
const readOnly = { read: true, write: false, allow: true };

/**
 * MSRs that a TD accesses without its module, in every TD: processor state and nothing else (msr_config_lookup.c of module
 * 1.5, MSR_BITMAP_FIXED_0). All others are events. KVM cannot filter the x2APIC's; without an APIC it refuses them, and
 * what it refuses is an event too.
 */
const ALLOWED: MsrFilter['ranges'] = [
  { first: 0x10, last: 0x10, ...readOnly }, // IA32_TIME_STAMP_COUNTER
  { first: 0x48, last: 0x49, ...both }, // IA32_SPEC_CTRL, IA32_PRED_CMD
  { first: 0x174, last: 0x176, ...both }, // IA32_SYSENTER_CS, ESP, EIP
  { first: 0x277, last: 0x277, ...both }, // IA32_PAT
  { first: 0x600, last: 0x600, ...both }, // IA32_DS_AREA
  { first: 0xda0, last: 0xda0, ...readOnly }, // IA32_XSS
  { first: 0xc000_0080, last: 0xc000_0080, ...readOnly }, // IA32_EFER
  { first: 0xc000_0081, last: 0xc000_0082, ...both }, // IA32_STAR, LSTAR
  { first: 0xc000_0084, last: 0xc000_0084, ...both }, // IA32_FMASK
  { first: 0xc000_0100, last: 0xc000_0103, ...both }, // FS and GS bases, IA32_TSC_AUX
];

const EXIT_FOR_ALL = 7n; // KVM_MSR_EXIT_REASON_INVAL | UNKNOWN | FILTER

/** Whether KVM can hand MSR accesses to us. */
export const canFilterMsrs = (vm: Pick<KvmVm, 'checkExtension'>): boolean =>
  vm.checkExtension(KVM_CAP.X86_USER_SPACE_MSR) > 0 && vm.checkExtension(KVM_CAP.X86_MSR_FILTER) > 0;

export function filterMsrs(vm: KvmVm): void {
  vm.enableCap(KVM_CAP.X86_USER_SPACE_MSR, [EXIT_FOR_ALL]);
  vm.setMsrFilter({ denyOthers: true, ranges: ALLOWED });
}
