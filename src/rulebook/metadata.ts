import { rules } from './rule.js';

/** What TDH.MNG.RD, TDH.MNG.WR, TDH.VP.RD and TDH.VP.WR check of field ids and values. */
export const METADATA_RULES = rules({
  'module.metadata.id': {
    source: 'metadata_generic.c md_check_as_single_element_id, md_find_entry_idx',
    status: 'TDX_METADATA_FIELD_ID_INCORRECT',
    what: 'The field id names one element of a field that this module has, and no reserved bits are set',
    fix: 'Look the field up for this version of the module',
  },
  'module.metadata.next': {
    source: 'tdh_mng_rd_wr.c, tdh_vp_rd_wr.c: version 1; the order of fields is not modelled',
    status: 'TDX_OPERAND_INVALID',
    operand: 'RAX',
    what: 'A field is read with version 0, which does not name the next one',
    fix: 'Use version 0',
  },
  'module.metadata.readable': {
    source: 'metadata_td.c md_td_read_element, metadata_vp.c md_vp_read_element: rd_mask',
    status: 'TDX_METADATA_FIELD_NOT_READABLE',
    what: 'A host may read the field; many only in a TD with ATTRIBUTES.DEBUG',
    fix: 'Create the TD with DEBUG, or do without',
  },
  'module.metadata.cpuid-readable': {
    source: 'metadata_td.c md_td_get_element: cpuid_lookup.faulting, CPUID_VALID',
    status: 'TDX_METADATA_FIELD_NOT_READABLE',
    what: 'The CPUID leaf has a value: the guest gets no #VE for it',
    fix: 'The host decides the value when the guest asks',
  },
  'module.metadata.writable': {
    source: 'metadata_td.c md_td_write_element, metadata_vp.c md_vp_write_element: combined_wr_mask',
    status: 'TDX_METADATA_FIELD_NOT_WRITABLE',
    what: 'The mask selects bits that a host may write; many only in a TD with ATTRIBUTES.DEBUG',
    fix: 'Write only bits that this module lets a host write',
  },
  'module.metadata.mask': {
    source: 'metadata_td.c md_td_write_element: HP_LOCK_TIMEOUT',
    status: 'TDX_METADATA_WR_MASK_NOT_VALID',
    what: 'The field is written as a whole',
    fix: 'Pass a mask of all ones',
  },
  'module.metadata.value': {
    source: 'metadata_generic.h md_check_forbidden_bits_unchanged, and checks of single fields',
    status: 'TDX_METADATA_FIELD_VALUE_NOT_VALID',
    what: 'The value leaves bits alone that a host may not write, and is one that the field takes',
    fix: 'Read the field first, and change only what may change',
  },
  'module.metadata.vmcs-initialized': {
    source: 'metadata_vp.c md_vp_element_vmcs_wr_handle: posted interrupts',
    status: 'TDX_TD_VMCS_FIELD_NOT_INITIALIZED',
    what: 'Posted interrupts are switched on after their vector and descriptor are written',
    fix: 'Write the notification vector and the descriptor address first',
  },
});
