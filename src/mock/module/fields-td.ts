// class  code  count  size  host-read host-write debug-read debug-write  name
// Numbers hexadecimal but for count; size 0 to 3: 1, 2, 4, 8 bytes; masks: * all bits, - none. Source: auto_gen/tdr_tdcs_fields_lookup.c.

/** Fields of TDR and TDCS that TDH.MNG.RD and TDH.MNG.WR know, those of L2 VMs left out. */
export const TD_FIELDS = `
0 1 1 0 * - * - FATAL
0 2 1 2 * - * - NUM_TDCX
0 4 1 3 * - * - CHLDCNT
0 5 1 2 * - * - LIFECYCLE_STATE
0 10 9 3 * - * - TDCX_PA
0 20 4 3 * - * - TD_UUID
1 1 1 1 * - * - HKID
1 2 1 3 * - * - PKG_CONFIG_BITMAP
2 0 1 1 * - * - HANDOFF_VERSION
2 1 1 3 * - * - SEAMDB_INDEX
2 2 4 3 - - - - SEAMDB_NONCE
10 1 1 2 * - * - NUM_VCPUS
10 2 1 2 * - * - NUM_ASSOC_VCPUS
10 4 1 2 * - * - OP_STATE
10 5 1 1 * - * - NUM_L2_VMS
11 0 1 3 * - * - ATTRIBUTES
11 1 1 3 * - * - XFAM
11 2 1 2 * - * - MAX_VCPUS
11 3 1 0 * - * - GPAW
11 4 1 3 * - * - EPTP
11 a 1 3 * - * - TSC_OFFSET
11 b 1 3 * - * - TSC_MULTIPLIER
11 c 1 1 * - * - TSC_FREQUENCY
11 d 1 3 - - - - VIRTUAL_TSC
11 e 1 1 * - * - NUM_CPUID_VALUES
11 f 1 2 * - * - XBUFF_SIZE
11 10 1 3 - - * 1 NOTIFY_ENABLES
11 11 1 3 * * * * HP_LOCK_TIMEOUT
11 12 4 3 * 1 * 1 VM_CTLS
11 16 1 3 * - * - CONFIG_FLAGS
11 17 1 3 - - * - TD_CTLS
11 80 80 0 - - * - CPUID_VALID
11 800 19 2 * - * - XBUFF_OFFSETS
12 0 1 3 * - * - TD_EPOCH
12 1 2 1 * - * - REFCOUNT
13 0 6 3 * - * - MRTD
13 10 6 3 * - * - MRCONFIGID
13 18 6 3 * - * - MROWNER
13 20 6 3 * - * - MROWNERCONFIG
13 40 24 3 - - * - RTMR
14 0 160 3 * - * - CPUID_VALUES
16 10a 1 3 - - * - VIRTUAL_IA32_ARCH_CAPABILITIES
16 480 1 3 - - * - VIRTUAL_IA32_VMX_BASIC
16 485 1 3 - - * - VIRTUAL_IA32_VMX_MISC
16 486 1 3 - - * - VIRTUAL_IA32_VMX_CR0_FIXED0
16 487 1 3 - - * - VIRTUAL_IA32_VMX_CR0_FIXED1
16 488 1 3 - - * - VIRTUAL_IA32_VMX_CR4_FIXED0
16 489 1 3 - - * - VIRTUAL_IA32_VMX_CR4_FIXED1
16 48b 1 3 - - * - VIRTUAL_IA32_VMX_PROCBASED_CTLS2
16 48c 1 3 - - * - VIRTUAL_IA32_VMX_EPT_VPID_CAP
16 48d 1 3 - - * - VIRTUAL_IA32_VMX_TRUE_PINBASED_CTLS
16 48e 1 3 - - * - VIRTUAL_IA32_VMX_TRUE_PROCBASED_CTLS
16 48f 1 3 - - * - VIRTUAL_IA32_VMX_TRUE_EXIT_CTLS
16 490 1 3 - - * - VIRTUAL_IA32_VMX_TRUE_ENTRY_CTLS
16 491 1 3 - - * - VIRTUAL_IA32_VMX_VMFUNC
16 492 1 3 - - * - VIRTUAL_IA32_VMX_PROCBASED_CTLS3
16 493 1 3 - - * - VIRTUAL_IA32_VMX_EXIT_CTLS2
18 1 1 0 * - * - MIG_DEC_KEY_SET
18 2 1 2 * - * - EXPORT_COUNT
18 3 1 2 * - * - IMPORT_COUNT
18 4 1 2 * - * - MIG_EPOCH
18 5 1 3 * - * - BW_EPOCH
18 6 1 3 * - * - TOTAL_MB_COUNT
18 10 4 3 - - * - MIG_DEC_KEY
18 14 4 3 - - * - MIG_DEC_WORKING_KEY
18 18 4 3 - - * - MIG_ENC_KEY
18 1c 4 3 - - * - MIG_ENC_WORKING_KEY
18 20 1 1 * - * - MIG_VERSION
18 21 1 1 * - * - MIG_WORKING_VERSION
18 30 1 3 * - * - DIRTY_COUNT
18 31 1 3 * - * - MIG_COUNT
18 32 1 1 * - * - NUM_MIGS
18 34 1 2 * - * - NUM_MIGRATED_VCPUS
18 40 4 3 * - * - PRE_IMPORT_UUID
19 0 6 3 * - * - SERVTD_HASH
19 6 1 1 * - * - SERVTD_NUM
19 80 16 3 * - * - SERVTD_BINDINGS_TABLE
1a 0 512 3 * - * - MIGSC_LINKS
20 0 512 3 - - * - MSR_BITMAPS
21 0 512 3 - - * - SEPT_ROOT
`;

/** Fields that came with x2APIC ids for VCPUs (TDX_FEATURES0.TOPOLOGY_ENUM). */
export const TOPOLOGY_FIELDS = `
11 19 1 0 * - * - TOPOLOGY_ENUM_CONFIGURED
1c 0 576 2 * - * - X2APIC_IDS
`;

/** Fields that came with the reduction of #VEs (TDX_FEATURES0.VE_REDUCTION). */
export const VE_REDUCTION_FIELDS = `
11 1a 1 0 * - * - VE_REDUCTION_VALID
11 21 1 3 * - * - CPUID_FIXED0_BITMAP
11 22 1 3 - - * - FEATURE_PARAVIRT_CTLS
`;

/** Fields that came with the virtual MAXPA (TDX_FEATURES0.MAXPA_VIRT). */
export const MAXPA_FIELDS = `
11 18 1 0 * - * - VIRT_MAXPA
`;
