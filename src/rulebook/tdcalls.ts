import { rules } from './rule.js';

const GP = 13;

/** What the TDX module checks of TDCALLs. Intel's module source, 1.5.01 to 1.5.25. */
export const TDCALL_RULES = rules({
  'module.tdcall.cpl': {
    source: 'Intel TDX CPU Architectural Extensions: TDCALL, #GP(0) if CPL > 0',
    exception: GP,
    what: 'TDCALL is executed at privilege level 0',
    fix: 'Make the call from the kernel',
  },
  'module.tdcall.long-mode': {
    source: 'tdx_td_dispatcher.c td_call: is_td_guest_in_64b_mode',
    exception: GP,
    what: 'TDCALL is executed in 64-bit mode: IA32_EFER.LMA and CS.L are 1',
    fix: 'Switch to 64-bit mode before the first TDCALL',
  },
  'module.tdcall.leaf': {
    source:
      'tdx_td_dispatcher.c td_call: reserved0, reserved1 and the default case; here also the leaves for service TDs and L2 VMs',
    status: 'TDX_OPERAND_INVALID',
    operand: 'RAX',
    what: 'RAX[15:0] is a leaf that this module, and its model, serves, and RAX[63:24] is 0',
    fix: 'Clear the upper bits of RAX, and call a leaf that exists',
  },
  'module.tdcall.version': {
    source: 'tdx_td_dispatcher.c td_call: leaf_opcode.version, and the version checks of the leaves',
    status: 'TDX_OPERAND_INVALID',
    operand: 'RAX',
    what: 'RAX[23:16] is 0, or a version that the leaf has: 1 for TDG.VM.RD, 1 and 2 for TDG.VP.VEINFO.GET of later modules',
    fix: 'Use version 0, or ask TDX_FEATURES0 first',
  },
  'module.vmcall.mask': {
    source: 'tdg_vp_vmcall.c: gpr_check_mask, control.reserved',
    status: 'TDX_OPERAND_INVALID',
    operand: 'RCX',
    what: 'The register mask of TDG.VP.VMCALL leaves out RAX, RCX, RSP (bits 0, 1, 4), RBP (bit 5) with CONFIG_FLAGS.NO_RBP_MOD, and bits 63:32',
    fix: 'Pass values in the other registers; KVM sets NO_RBP_MOD for every TD',
  },
  'module.operand.alignment': {
    source: 'tdg_mr_report.c, tdg_mr_rtmr_extend.c, tdg_sys_rdall.c: is_addr_aligned_pwr_of_2',
    status: 'TDX_OPERAND_INVALID',
    what: 'Memory for a TDCALL is aligned: 1024 bytes for a TDREPORT, 64 for REPORTDATA and an extension, a page for a list',
    fix: 'Align the buffer',
  },
  'module.operand.gpa': {
    source: 'helpers.c check_gpa_validity',
    status: 'TDX_OPERAND_INVALID',
    what: 'Memory for a TDCALL lies within the GPA width, and is private but for a TDREPORT and its REPORTDATA',
    fix: 'Pass the physical address of private memory, without the SHARED bit',
  },
  'module.rtmr.index': {
    source: 'tdg_mr_rtmr_extend.c: index >= NUM_RTMRS',
    status: 'TDX_OPERAND_INVALID',
    operand: 'RDX',
    what: 'There are four RTMRs, 0 to 3',
    fix: 'Pass 2 or 3 for an operating system; firmware has 0 and 1',
  },
  'module.veinfo.valid': {
    source: 'tdg_vp_veinfo_get.c: ve_info.valid',
    status: 'TDX_NO_VALID_VE_INFO',
    what: 'TDG.VP.VEINFO.GET is called once after each #VE',
    fix: 'Call it in the #VE handler only, and once',
  },
  'module.report.subtype': {
    source: 'tdg_mr_report.c: TDX_REPORT_SUBTYPE',
    status: 'TDX_OPERAND_INVALID',
    operand: 'R8',
    what: 'The subtype of a TDREPORT is 0',
    fix: 'Pass 0 in R8',
  },
  'module.cpuidve.reserved': {
    source: 'tdg_vp_cpuidve_set.c: cpuid_ve.reserved',
    status: 'TDX_OPERAND_INVALID',
    operand: 'RCX',
    what: 'TDG.VP.CPUIDVE.SET takes bits 0 (supervisor) and 1 (user)',
    fix: 'Clear the other bits of RCX',
  },
  'module.cpuidve.locked': {
    source: 'tdg_vp_cpuidve_set.c: td_ctls.lock, since 1.5.09',
    status: 'TDX_OPERAND_INVALID',
    operand: 'RCX',
    what: 'With TD_CTLS.LOCK set, a guest does not change which CPUIDs give a #VE',
    fix: 'Set it before the lock',
  },
  'module.accept.mapping-info': {
    source: 'helpers.c verify_page_info_input, from tdg_mem_page_accept.c',
    status: 'TDX_OPERAND_INVALID',
    operand: 'RCX',
    what: 'RCX has level 0 (4 KiB) or 1 (2 MiB) in bits 2:0, a GPA aligned to it, and nothing else',
    fix: 'Align the address to the size of the page',
  },
  'module.accept.once': {
    source: 'tdg_mem_page_accept.c check_tdaccept_failure: sept_state_is_guest_accessible_leaf',
    status: 'TDX_PAGE_ALREADY_ACCEPTED',
    what: 'A page is accepted once; those that the host added before the TD was finalised need none',
    fix: 'Treat it as success only if this guest accepted the page before: a host must not swap pages behind its back',
  },
  'module.accept.size': {
    source: 'tdg_mem_page_accept.c check_tdaccept_failure: Non-free non-leaf entry',
    status: 'TDX_PAGE_SIZE_MISMATCH',
    what: 'A page is accepted in the size in which the host mapped it',
    fix: 'Accept 2 MiB in 4 KiB pages',
  },
  'module.vm-rd.vm': {
    source: 'tdg_vm_rd_wr.c: vm_id != 0',
    status: 'TDX_OPERAND_INVALID',
    operand: 'RCX',
    what: 'TDG.VM.RD is about the TD itself: RCX is 0',
    fix: 'Pass 0 in RCX',
  },
  'module.vp-rd.rcx': {
    source: 'tdg_vp_rd_wr.c: gpr_state.rcx != 0',
    status: 'TDX_OPERAND_INVALID',
    operand: 'RCX',
    what: 'TDG.VP.RD and TDG.VP.WR are about the VCPU itself: RCX is 0',
    fix: 'Pass 0 in RCX',
  },
  'module.metadata.first': {
    source: 'tdg_vm_rd_wr.c, tdg_vp_rd_wr.c, tdg_sys_rd.c: is_null_field_id',
    status: 'TDX_METADATA_FIRST_FIELD_ID_IN_CONTEXT',
    what: 'A read of the field id -1 gives the id of the first field instead of a value',
    fix: 'Read the field whose id is in RDX now',
  },
  'module.metadata.guest-readable': {
    source: 'metadata_td.c, metadata_vp.c, metadata_sys.c: guest_rd_mask',
    status: 'TDX_METADATA_FIELD_NOT_READABLE',
    what: 'A guest may read the field',
    fix: 'Walk the readable fields: start with the id -1, and follow RDX',
  },
  'module.metadata.guest-writable': {
    source: 'metadata_vp.c md_vp_write_element: combined_wr_mask, guest_wr_mask',
    status: 'TDX_METADATA_FIELD_NOT_WRITABLE',
    what: 'The mask selects bits of a VCPU field that a guest may write',
    fix: 'Write CPUID_SUPERVISOR_VE, CPUID_USER_VE or CPUID_CONTROL only',
  },
});
