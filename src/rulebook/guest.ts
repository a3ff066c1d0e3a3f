import { rules } from './rule.js';

const GP = 13;
const VE = 20;
const DF = 8;
const UD = 6;
const PF = 14;

/** What the TDX module checks of its guest's instructions and TDCALLs. */
export const GUEST_RULES = rules({
  'module.vm-wr.vm': {
    source: 'tdg_vm_rd_wr.c: vm_id != 0',
    status: 'TDX_OPERAND_INVALID',
    operand: 'RCX',
    what: 'TDG.VM.RD and TDG.VM.WR are about the TD itself: RCX is 0',
    fix: 'Pass 0 in RCX',
  },
  'module.vm-wr.field-id': {
    source: 'metadata_generic.c md_check_as_single_element_id, md_find_entry_idx',
    status: 'TDX_METADATA_FIELD_ID_INCORRECT',
    what: 'The field id names one element of a field that this module has, and no reserved bits are set',
    fix: 'Look the field up for this version of the module',
  },
  'module.vm-wr.writable': {
    source: 'metadata_td.c md_td_write_element: combined_wr_mask, guest_wr_mask',
    status: 'TDX_METADATA_FIELD_NOT_WRITABLE',
    what: 'The mask selects bits that a guest may write',
    fix: 'Write only bits that this module lets a guest write',
  },
  'module.vm-wr.forbidden-bits': {
    source: 'metadata_generic.h md_check_forbidden_bits_unchanged',
    status: 'TDX_METADATA_FIELD_VALUE_NOT_VALID',
    what: 'Bits that the mask selects and a guest may not write keep their value',
    fix: 'Clear them in the mask',
  },
  'module.vm-wr.pending-ve-disable': {
    source: 'metadata_td.c md_td_write_element: MD_TDCS_TD_CTLS_FIELD_ID, flexible_pending_ve',
    status: 'TDX_METADATA_FIELD_VALUE_NOT_VALID',
    what: 'A guest changes TD_CTLS.PENDING_VE_DISABLE only if CONFIG_FLAGS.FLEXIBLE_PENDING_VE is set',
    fix: 'Set FLEXIBLE_PENDING_VE in TD_PARAMS, or leave the bit alone',
  },
  'module.vm-wr.enum-topology': {
    source: 'metadata_td.c md_td_write_element: MD_TDCS_TD_CTLS_FIELD_ID, topology_enum_configured',
    status: 'TDX_METADATA_FIELD_VALUE_NOT_VALID',
    what: 'A guest sets TD_CTLS.ENUM_TOPOLOGY (or REDUCE_VE, which implies it) only if every VCPU was given an x2APIC id',
    fix: 'Initialise all VCPUs with version 1 of TDH.VP.INIT',
  },
  'module.vm-wr.locked': {
    source: 'metadata_td.c md_td_write_element: td_ctls.lock',
    status: 'TDX_METADATA_FIELD_VALUE_NOT_VALID',
    what: 'Once TD_CTLS.LOCK is set, a guest changes neither TD_CTLS nor FEATURE_PARAVIRT_CTLS',
    fix: 'Write all controls before the lock',
  },
  'module.xsetbv.index': {
    source: 'td_xsetbv.c: RCX must be 0',
    exception: GP,
    what: 'XSETBV writes XCR0: ECX is 0',
    fix: 'Pass 0 in ECX',
  },
  'module.xsetbv.xfam': {
    source: 'helpers.c check_guest_xcr0_value: xcr0_supported_mask & xfam',
    exception: GP,
    what: 'A guest sets only bits in XCR0 that are in XFAM',
    fix: 'Add the features to XFAM, or do not switch them on',
  },
  'module.xsetbv.combination': {
    source: 'helpers.c check_guest_xcr0_value; Intel SDM volume 1, 13.3',
    exception: GP,
    what: 'XCR0 has bit 0; AVX needs SSE, AVX-512 all its three bits and AVX, AMX both its bits',
    fix: 'Set the bits that belong together',
  },
  'module.wrmsr.xss': {
    source: 'td_msr_access.c wrmsr_ia32_xss: ia32_xss_supported_mask & xfam',
    exception: GP,
    what: 'A guest sets only bits in IA32_XSS that are in XFAM',
    fix: 'Add the features to XFAM, or do not switch them on',
  },
  'module.ve.one-at-a-time': {
    source: 'td_other_exits.c tdx_inject_ve: ve_info_p->valid',
    exception: DF,
    what: 'The information of a #VE is read with TDG.VP.VEINFO.GET before the next #VE occurs',
    fix: 'Call TDG.VP.VEINFO.GET first in the #VE handler, before anything that may cause another #VE',
  },
  'module.ept.pending-ve': {
    source: 'td_ept_violation.c: sept_state_is_any_pending_and_guest_acceptable, td_ctls.pending_ve_disable',
    exception: VE,
    what: 'A page is accepted with TDG.MEM.PAGE.ACCEPT before it is touched',
    fix: 'Accept the page first; with ATTRIBUTES.SEPT_VE_DISABLE the access would be a TD exit instead',
  },
  'module.ept.shared-ve': {
    source: 'Intel SDM volume 3, 26.5.7: convertible EPT violations; KVM clears "suppress #VE" where it has no memory',
    exception: VE,
    what: 'Shared memory that the guest touches exists; for the rest the host emulates a device',
    fix: 'Use TDG.VP.VMCALL<#VE.RequestMMIO> in the #VE handler',
  },
  'module.ept.gpa-width': {
    source: 'td_ept_violation.c: are_gpa_bits_above_shared_set, are_gpa_bits_above_virt_maxpa_set',
    exception: PF,
    what: 'Page tables of the guest set no physical address bits beyond its GPA width or its virtual MAXPA',
    fix: 'Build page tables for the width that TDG.VP.INFO gives',
  },
  'module.cpuid.asked-for-ve': {
    source: 'td_cpuid.c: cpuid_supervisor_ve, cpuid_user_ve',
    exception: VE,
    what: 'CPUID has values unless the guest asked for a #VE at its privilege level with TDG.VP.CPUIDVE.SET',
    fix: 'Call TDG.VP.CPUIDVE.SET with RCX 0',
  },
  'module.instruction.privileged': {
    source: 'Intel SDM volume 3, 26.1.1: faults that come before VM exits',
    exception: GP,
    what: 'HLT, INVD, WBINVD, RDMSR, WRMSR and XSETBV are executed at privilege level 0',
    fix: 'Execute them in the kernel',
  },
  'module.instruction.ve': {
    source: 'tdx_td_dispatcher.c: td_generic_ve_exit',
    exception: VE,
    what: 'A guest in a TD does without port I/O, HLT, INVD, WBINVD and VMCALL, or has a #VE handler that asks the host',
    fix: 'Install an IDT with a #VE handler, and use TDG.VP.VMCALL',
  },
  'module.instruction.monitor': {
    source: 'tdx_td_dispatcher.c: VMEXIT_REASON_MONITOR_INSTRUCTION, inject_ud since 1.5.05',
    exception: UD,
    what: 'MONITOR and MWAIT are used at privilege level 0 where CPUID(1).ECX[3] is set',
    fix: 'Look at CPUID first',
  },
  'module.instruction.rdpmc': {
    source: 'td_other_exits.c td_rdpmc_exit',
    exception: GP,
    what: 'RDPMC is executed in TDs with ATTRIBUTES.PERFMON',
    fix: 'Create the TD with PERFMON',
  },
  'module.msr.read-ve': {
    source: 'td_msr_access.c rd_wr_msr_generic_case, auto_gen/msr_config_lookup.c',
    exception: VE,
    what: 'The MSR is one that a TD may read; for the others the host decides',
    fix: 'Use TDG.VP.VMCALL<Instruction.RDMSR> in the #VE handler',
  },
  'module.msr.write-ve': {
    source: 'td_msr_access.c rd_wr_msr_generic_case, wrmsr_ia32_efer, auto_gen/msr_config_lookup.c',
    exception: VE,
    what: 'The MSR is one that a TD may write, of IA32_EFER only SCE; for the others the host decides',
    fix: 'Use TDG.VP.VMCALL<Instruction.WRMSR> in the #VE handler',
  },
  'module.msr.read-gp': {
    source: 'td_msr_access.c rd_wr_msr_generic_case, auto_gen/msr_config_lookup.c',
    exception: GP,
    what: 'The MSR exists in this TD: its feature is in ATTRIBUTES, XFAM or CPUID',
    fix: 'Look at CPUID before the MSR, or configure the feature',
  },
  'module.msr.write-gp': {
    source:
      'td_msr_access.c rd_wr_msr_generic_case, wrmsr_ia32_debugctl, auto_gen/msr_config_lookup.c; of the x2APIC SDM volume 3, 31.5',
    exception: GP,
    what: 'The MSR exists in this TD, is not read-only, and takes the value',
    fix: 'Look at CPUID before the MSR, or configure the feature',
  },
  'module.cpuid.ve': {
    source: 'td_cpuid.c td_cpuid_exit: tdx_inject_ve',
    exception: VE,
    what: 'The module has a value for the CPUID leaf and sub-leaf in this TD; for the others the host decides',
    fix: 'Handle #VE in the guest, or opt in with TD_CTLS where the module offers it',
  },
});
