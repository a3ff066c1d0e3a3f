import { rules } from './rule.js';

const msr = 'TDX_INCORRECT_MSR_VALUE';
const cpuid = 'TDX_INCORRECT_CPUID_VALUE';
const bios = 'Enable TDX in the BIOS as the vendor of the host describes';
const processor = 'Use a processor that this module supports, or a newer module';

/** What the module requires of the platform before it starts (tdh_sys_init.c, tdh_sys_lp_init.c, tdh_sys_config.c). */
export const SYS_INIT_RULES = rules({
  'module.sys-init.arch-capabilities': {
    source: 'virt_msr_helpers.h check_native_ia32_arch_capabilities',
    status: msr,
    what: 'IA32_ARCH_CAPABILITIES has the mitigations that the module relies on',
    fix: processor,
  },
  'module.sys-init.xapic-disable': {
    source: 'tdh_sys_init.c check_msrs: IA32_XAPIC_DISABLE_STATUS',
    status: msr,
    what: 'The legacy xAPIC is disabled and locked (MSR 0xBD is 1)',
    fix: 'Enable x2APIC with its opt-out disabled in the BIOS',
  },
  'module.sys-init.energy-filtering': {
    source: 'tdh_sys_init.c check_msrs: IA32_MISC_PACKAGE_CTLS',
    status: msr,
    what: 'Energy filtering is enabled (bit 0 of MSR 0xBC)',
    fix: bios,
  },
  'module.sys-init.perf-capabilities': {
    source: 'tdh_sys_init.c check_msrs: IA32_PERF_CAPABILITIES',
    status: msr,
    what: 'IA32_PERF_CAPABILITIES has full-width counter writes (and, since 1.5.05, FREEZE_WHILE_SMM)',
    fix: processor,
  },
  'module.sys-init.cpuid-maxval': {
    source: 'tdh_sys_init.c check_cpuid_configurations: IA32_MISC_ENABLE[22]',
    status: 'TDX_LIMIT_CPUID_MAXVAL_SET',
    what: 'IA32_MISC_ENABLE does not limit CPUID leaves',
    fix: 'Disable "Limit CPUID Maximum" in the BIOS',
  },
  'module.sys-init.misc-enable': {
    source: 'tdh_sys_init.c check_cpuid_configurations, 1.5.05: IA32_MISC_ENABLE[7], [11]',
    status: msr,
    what: 'IA32_MISC_ENABLE shows performance monitoring and branch trace storage as available',
    fix: bios,
  },
  'module.sys-init.last-leaf': {
    source: 'tdh_sys_init.c check_cpuid_configurations: CPUID_MIN_LAST_CPU_BASE_LEAF, CPUID_LAST_EXTENDED_LEAF',
    status: 'TDX_CPUID_LEAF_NOT_SUPPORTED',
    what: 'The processor has CPUID leaves up to 0x1F and 0x80000008',
    fix: processor,
  },
  'module.sys-init.cpuid-verify': {
    source: 'cpuid_configurations.c verify_mask, verify_value',
    status: cpuid,
    what: 'Native CPUID bits whose value the module relies on have it; RCX names the leaf',
    fix: processor,
  },
  'module.sys-init.cpuid-perfmon': {
    source: 'tdh_sys_init.c check_cpuid_configurations: leaf 0xA',
    status: cpuid,
    what: 'CPUID(0xA) has version 5 or newer and at most 7 fixed-function counters',
    fix: processor,
  },
  'module.sys-init.cpuid-perfmon-sub-leaf': {
    source: 'tdh_sys_init.c check_cpuid_configurations, 1.5.25: leaf 0x23',
    status: cpuid,
    what: 'Sub-leaves of CPUID(0x23) that its sub-leaf 0 does not announce are zeros',
    fix: processor,
  },
  'module.sys-init.cpuid-address-width': {
    source: 'tdh_sys_init.c check_cpuid_configurations: leaf 0x80000008',
    status: cpuid,
    what: 'CPUID(0x80000008).EAX[15:8] is 57 with LA57, else 48',
    fix: processor,
  },
  'module.sys-init.maxpa': {
    source: 'tdh_sys_init.c check_cpuid_configurations, 1.5.06: tdx_sanity_check(max_pa <= 52)',
    what: 'The processor has at most 52 physical address bits; otherwise the module stops',
    fix: processor,
  },
  'module.sys-init.xsave': {
    source: 'tdh_sys_init.c check_cpuid_configurations: leaf 0xD',
    what: 'CPUID(0xD, n).ECX[0] agrees with where component n is enumerated; otherwise the module stops',
    fix: processor,
  },
  'module.sys-init.tsc': {
    source: 'tdh_sys_init.c check_cpuid_configurations: leaf 0x15',
    status: 'TDX_CPUID_LEAF_NOT_SUPPORTED',
    what: 'CPUID(0x15) gives the TSC frequency',
    fix: processor,
  },
  'module.sys-init.tsc-minimum': {
    source: 'tdh_sys_init.c check_cpuid_configurations: NATIVE_TSC_FREQUENCY_MIN',
    what: 'The native TSC frequency is high enough to calculate multipliers; otherwise the module stops',
    fix: processor,
  },
  'module.sys-init.lbr': {
    source: 'tdh_sys_init.c check_cpuid_configurations: leaf 0x1C',
    what: 'CPUID(0x1C).EAX[7:0] names an LBR depth; otherwise the module stops',
    fix: processor,
  },
  'module.sys-init.topology': {
    source: 'tdh_sys_init.c check_cpuid_configurations: leaf 0x1F',
    status: 'TDX_CPUID_LEAF_1F_FORMAT_UNRECOGNIZED',
    what: 'The level types of CPUID(0x1F) ascend',
    fix: processor,
  },
  'module.sys-init.topology-sub-leaf': {
    source: 'tdh_sys_init.c check_cpuid_configurations, 1.5.25: leaf 0x1F',
    status: 'TDX_CPUID_LEAF_1F_FORMAT_UNRECOGNIZED',
    what: 'CPUID(0x1F).ECX[7:0] is the number of the sub-leaf, in unused ones too',
    fix: processor,
  },
  'module.sys-init.topology-core': {
    source: 'tdh_sys_init.c check_cpuid_configurations: leaf 0x1F',
    status: 'TDX_CPUID_LEAF_NOT_SUPPORTED',
    what: 'CPUID(0x1F) has levels, and CORE is among them',
    fix: processor,
  },
  'module.sys-init.topology-shift': {
    source: 'tdh_sys_init.c check_cpuid_configurations: tdx_sanity_check of the core id mask',
    what: 'The x2APIC id shift of the last level is not below that of SMT; otherwise the module stops',
    fix: processor,
  },
  'module.sys-init.wbinvd-scope': {
    source: 'tdh_sys_init.c check_cpuid_configurations: leaves 4.3 and 0x1F',
    status: 'TDX_INVALID_WBINVD_SCOPE',
    what: 'All logical processors of a package share its L3 cache',
    fix: 'Disable sub-NUMA clustering or similar partitioning in the BIOS',
  },
  'module.sys-init.vmx': {
    source: 'tdh_sys_init.c check_vmx_msrs, check_l2_vmx_msrs',
    status: msr,
    what: 'The VMX capability MSRs allow the controls that the module sets',
    fix: processor,
  },
  'module.sys-init.vmx-sane': {
    source: 'tdh_sys_init.c check_allowed_vmx_ctls: tdx_sanity_check',
    what: 'No VMX control is both required and forbidden; otherwise the module stops',
    fix: processor,
  },
  'module.sys-init.memory-encryption': {
    source: 'helpers.c check_mem_enc_alg',
    status: msr,
    what: 'Memory encryption is locked, and an algorithm that fits the integrity mode is active',
    fix: 'Enable TME, TME-MT and TDX in the BIOS',
  },
  'module.sys-init.keyids': {
    source: 'tdh_sys_init.c check_key_management_config: MAX_HKIDS',
    status: 'TDX_NUM_ACTIVATED_HKIDS_NOT_SUPPORTED',
    what: 'The highest private KeyID is below 2048',
    fix: 'Configure fewer KeyIDs in the BIOS',
  },
  'module.sys-init.cache-blocks': {
    source: 'tdh_sys_init.c check_key_management_config: IA32_WBINVDP, IA32_WBNOINVDP',
    status: msr,
    what: 'IA32_WBINVDP and IA32_WBNOINVDP give the same number of cache sub-blocks',
    fix: bios,
  },
  'module.sys-init.cmrs': {
    source: 'tdh_sys_init.c check_cmrs',
    status: 'TDX_CMR_LIST_INVALID',
    what: 'Convertible memory ranges are 4 KiB aligned, ascending, disjoint and without KeyID bits',
    fix: bios,
  },
  'module.sys-init.smrr-supported': {
    source: 'tdh_sys_init.c check_and_store_smrr_smrr2: IA32_MTRRCAP[11]',
    status: 'TDX_SMRR_NOT_SUPPORTED',
    what: 'The processor has SMRR',
    fix: processor,
  },
  'module.sys-init.smrr-lock-supported': {
    source: 'tdh_sys_init.c check_and_store_smrr_smrr2: IA32_MTRRCAP[14]',
    status: 'TDX_SMRR_LOCK_NOT_SUPPORTED',
    what: 'The processor has a lock for SMRR',
    fix: processor,
  },
  'module.sys-init.smrr-locked': {
    source: 'tdh_sys_init.c check_and_store_smrr_smrr2: IA32_SMRR_PHYSMASK[10]',
    status: 'TDX_SMRR_NOT_LOCKED',
    what: 'SMRR and SMRR2 are locked',
    fix: bios,
  },
  'module.sys-init.smrr-valid': {
    source: 'tdh_sys_init.c is_smrr_mask_valid_for_tdx',
    status: 'TDX_INVALID_SMRR_CONFIGURATION',
    what: 'SMRR and SMRR2 are ranges aligned on their size',
    fix: bios,
  },
  'module.sys-init.smrr-cmr': {
    source: 'tdh_sys_init.c check_and_store_smrr_smrr2',
    status: 'TDX_SMRR_OVERLAPS_CMR',
    what: 'SMRR and SMRR2 overlap no convertible memory',
    fix: bios,
  },
  'module.sys-init.seam-capabilities': {
    source: 'tdh_sys_init.c is_td_preserving_available',
    status: 'TDX_INCOMPATIBLE_SEAM_CAPABILITIES',
    what: 'SEAMOPS has what TD-preserving updates need (leaves 4 and 5)',
    fix: processor,
  },
  'module.sys-init.seamrr': {
    source: 'tdh_sys_init.c tdx_init_global_data: mask_to_size',
    what: 'IA32_SEAMRR_MASK describes a range; otherwise the module stops',
    fix: bios,
  },
  'module.sys-lp-init.cpuid-same': {
    source: 'tdh_sys_lp_init.c compare_cpuid_configuration',
    status: 'TDX_INCONSISTENT_CPUID_FIELD',
    what: 'CPUID is the same on all logical processors in the bits that matter; RCX names the leaf',
    fix: 'Update the microcode of all processors',
  },
  'module.sys-config.tdmr-info': {
    source: 'tdh_sys_config.c: shared_hpa_check_with_pwr_2_alignment of the TDMR_INFO array',
    status: 'TDX_OPERAND_INVALID',
    operand: 'RCX',
    what: 'KeyID 0 is a shared one, so that the host can pass its TDMRs in ordinary memory',
    fix: 'Give fewer KeyIDs to MKTME in the BIOS',
  },
  'module.sys-config.hkid': {
    source: 'tdh_sys_config.c: is_private_hkid',
    status: 'TDX_OPERAND_INVALID',
    operand: 'R8',
    what: 'The global KeyID is a private one',
    fix: 'Give more KeyIDs to TDX in the BIOS (TME-MT/TDX key split)',
  },
  'module.sys-config.tdmr': {
    source: 'tdh_sys_config.c check_tdmr_area_addresses_and_size',
    status: 'TDX_INVALID_TDMR',
    what: 'A TDMR is 1 GiB aligned, not empty, and within the physical address space without KeyID bits',
    fix: 'Choose another TDMR',
  },
  'module.sys-config.pamt': {
    source: 'tdh_sys_config.c check_pamt_addresses_and_size',
    status: 'TDX_INVALID_PAMT',
    what: 'A PAMT is 4 KiB aligned, large enough, and within the physical address space without KeyID bits',
    fix: 'Choose another place for the PAMT',
  },
  'module.sys-config.pamt-overlap': {
    source: 'tdh_sys_config.c is_pamt_overlaps_available_area',
    status: 'TDX_PAMT_OVERLAP',
    what: 'A PAMT does not overlap a TDMR outside its reserved areas',
    fix: 'Choose another place for the PAMT',
  },
  'module.sys-config.pamt-cmr': {
    source: 'tdh_sys_config.c check_pamt_in_cmr',
    status: 'TDX_PAMT_OUTSIDE_CMRS',
    what: 'A PAMT is in convertible memory',
    fix: 'Choose another place for the PAMT',
  },
  'module.sys-config.tdmr-cmr': {
    source: 'tdh_sys_config.c check_tdmr_available_areas',
    status: 'TDX_TDMR_OUTSIDE_CMRS',
    what: 'A TDMR outside its reserved areas is convertible memory',
    fix: 'Reserve the holes of the TDMR',
  },
});
