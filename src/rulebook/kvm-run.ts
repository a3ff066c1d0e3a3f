import { rules } from './rule.js';

const dead = 'Close the VM and build the TD anew; the kernel log names the failing SEAMCALL';

/**
 * What KVM does with the exits of a running TD. Rules with a status are about the guest: it finds the status in R10 after
 * TDG.VP.VMCALL.
 */
export const KVM_RUN_RULES = rules({
  'kvm.run.signal': {
    source: 'x86.c kvm_arch_vcpu_ioctl_run: wants_to_run, signal_pending',
    errno: 'EINTR',
    what: 'A signal, or kvm_run.immediate_exit, ends KVM_RUN; the guest stays where it is',
    fix: 'Issue KVM_RUN again',
  },
  'kvm.run.unaccepted': {
    source: 'tdx.c tdx_handle_ept_violation: tdx_is_sept_violation_unexpected_pending',
    errno: 'EIO',
    what: 'With SEPT_VE_DISABLE a guest accepts a page (TDG.MEM.PAGE.ACCEPT) before it touches it; otherwise KVM kills the VM: "Guest access before accepting"',
    fix: 'Accept memory that was not added at build time, or let the VMM add it',
  },
  'kvm.run.ept-misconfig': {
    source: 'tdx.c tdx_handle_exit: EXIT_REASON_EPT_MISCONFIG, KVM_BUG_ON',
    errno: 'EIO',
    what: 'A TD never leaves with an EPT misconfiguration; if it does, KVM kills the VM',
    fix: dead,
  },
  'kvm.run.shared-fetch': {
    source: 'tdx.c tdx_handle_ept_violation: EPT_VIOLATION_ACC_INSTR, KVM_BUG_ON',
    errno: 'EIO',
    what: 'A TD never fetches instructions from shared memory; if it seems to, KVM kills the VM',
    fix: dead,
  },
  'kvm.run.shared-unmapped': {
    source: 'mmu.c kvm_handle_error_pfn',
    errno: 'EFAULT',
    what: 'Memory behind a slot stays mapped in the process as long as a guest may touch it',
    fix: 'Delete the slot before its memory is unmapped',
  },
  'kvm.run.augment': {
    source: 'tdx.c tdx_mem_page_aug, tdx_sept_link_private_spt: KVM_BUG_ON',
    errno: 'EIO',
    what: 'TDH.MEM.SEPT.ADD and TDH.MEM.PAGE.AUG for a touched page succeed or find their operands busy; another failure leaves a dead VM',
    fix: dead,
  },

  'kvm.msr-filter': {
    source: 'x86.c kvm_vm_ioctl_set_msr_filter, kvm_add_msr_filter',
    errno: 'EINVAL',
    what: 'A filter of MSRs has known flags, ranges for reads or writes, and at least one range if it denies the others',
    fix: 'Allow others, or name the MSRs that are allowed',
  },

  'kvm.tdvmcall.leaf': {
    source: 'tdx.c handle_tdvmcall: default',
    status: 'SUBFUNC_UNSUPPORTED',
    what: 'R11 of TDG.VP.VMCALL is CPUID, HLT, IO, RDMSR, WRMSR, MMIO or one of the calls 0x10000 to 0x10004',
    fix: 'Ask GetTdVmCallInfo for what there is',
  },
  'kvm.tdvmcall.io': {
    source: 'tdx.c tdx_emulate_io',
    status: 'INVALID_OPERAND',
    what: 'R12 of TDG.VP.VMCALL<IO> is 1, 2 or 4 bytes, R13 0 for a read or 1 for a write',
    fix: 'Split string instructions into single accesses',
  },
  'kvm.tdvmcall.mmio-access': {
    source: 'tdx.c tdx_emulate_mmio: size, write',
    status: 'INVALID_OPERAND',
    what: 'R12 of TDG.VP.VMCALL<MMIO> is 1, 2, 4 or 8 bytes, R13 0 for a read or 1 for a write',
    fix: 'Split the access',
  },
  'kvm.tdvmcall.mmio-shared': {
    source: 'tdx.c tdx_emulate_mmio: vt_is_tdx_private_gpa',
    status: 'INVALID_OPERAND',
    what: 'MMIO is at shared addresses: the first and the last byte have the shared bit',
    fix: 'Set the shared bit, 47 or 51, in R14',
  },
  'kvm.tdvmcall.map-gpa-exit': {
    source: 'tdx.c tdx_map_gpa: user_exit_on_hypercall',
    status: 'SUBFUNC_UNSUPPORTED',
    what: 'MapGPA needs KVM_CAP_EXIT_HYPERCALL with KVM_HC_MAP_GPA_RANGE, for user space does the work',
    fix: 'Enable KVM_CAP_EXIT_HYPERCALL with 0x1000 before the TD runs',
  },
  'kvm.tdvmcall.map-gpa-range': {
    source: 'tdx.c tdx_map_gpa: kvm_vcpu_is_legal_gpa, vt_is_tdx_private_gpa',
    status: 'INVALID_OPERAND',
    what: "The range of MapGPA is not empty, does not wrap, lies below the vCPU's MAXPHYADDR and is shared or private as a whole",
    fix: 'Give the vCPU a MAXPHYADDR that covers the shared bit, and the guest one range per call',
  },
  'kvm.tdvmcall.map-gpa-align': {
    source: 'tdx.c tdx_map_gpa: PAGE_ALIGNED',
    status: 'ALIGN_ERROR',
    what: 'Address and size of MapGPA are multiples of 4096',
    fix: 'Convert whole pages',
  },
  'kvm.tdvmcall.map-gpa-user': {
    source: 'tdx.c tdx_complete_vmcall_map_gpa: hypercall.ret',
    status: 'INVALID_OPERAND',
    what: 'User space converts each piece of MapGPA and sets kvm_run.hypercall.ret to 0; R11 says where it stopped',
    fix: 'Look in the VMM for why the conversion failed',
  },
  'kvm.tdvmcall.get-quote': {
    source: 'tdx.c tdx_get_quote: vt_is_tdx_private_gpa',
    status: 'INVALID_OPERAND',
    what: 'The buffer of GetQuote is at a shared address',
    fix: 'Convert the buffer with MapGPA and set the shared bit in R12',
  },
  'kvm.tdvmcall.event-notify': {
    source: 'tdx.c tdx_setup_event_notify_interrupt',
    status: 'INVALID_OPERAND',
    what: 'The vector of SetupEventNotifyInterrupt is 32 to 255',
    fix: 'Choose a vector that is not an exception',
  },
  'kvm.tdvmcall.info-leaf': {
    source: 'tdx.c tdx_get_td_vm_call_info: default',
    status: 'INVALID_OPERAND',
    what: 'R12 of GetTdVmCallInfo is 0 or 1',
    fix: 'Pass 0 for the base calls, 1 for the others',
  },
  'kvm.tdvmcall.msr': {
    source: 'tdx.c tdx_get_msr, tdx_set_msr, tdx_complete_emulated_msr; x86.c kvm_msr_allowed',
    status: 'INVALID_OPERAND',
    what: 'TDG.VP.VMCALL<RDMSR> and <WRMSR> are for MSRs that KVM emulates for TDs and no filter denies, with values that it takes',
    fix: 'Do without the MSR, or use one that the TDX module virtualises',
  },
});
