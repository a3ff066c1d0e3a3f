import { rules } from './rule.js';

const GP = 13;
const VE = 20;

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
  'module.cpuid.ve': {
    source: 'td_cpuid.c td_cpuid_exit: tdx_inject_ve',
    exception: VE,
    what: 'The module has a value for the CPUID leaf and sub-leaf in this TD; for the others the host decides',
    fix: 'Handle #VE in the guest, or opt in with TD_CTLS where the module offers it',
  },
});
