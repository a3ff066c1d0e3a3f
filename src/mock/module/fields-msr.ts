// first  last  read  write  name
// Numbers hexadecimal, ranges inclusive. What an access does: native, the processor answers; ve, gp, exceptions; own, the module
// answers; a feature: native in TDs that have it, #GP or (feature:own) the module elsewhere; ve-with:feature, #VE in TDs that
// have it, #GP elsewhere; perfmon-and: native with PERFMON and, for IA32_PERF_METRICS, a platform that has it, for
// IA32_PERF_CAPABILITIES, PT. An MSR without a row is a #VE. Source: auto_gen/msr_config_lookup.c (1.5.06).

/** MSRs as guests find them. */
export const MSRS = `
10 10 native ve IA32_TIME_STAMP_COUNTER
48 48 native native IA32_SPEC_CTRL
49 49 native native IA32_PRED_CMD
87 87 ve-with:pconfig ve-with:pconfig IA32_MKTME_PARTITIONING
8c 8f gp gp IA32_SGXLEPUBKEYHASHx
98 98 gp gp MSR_WBINVDP
99 99 gp gp MSR_WBNOINVDP
9a 9a gp gp MSR_INTR_PENDING
9b 9b gp gp IA32_SMM_MONITOR_CTL
9e 9e gp gp IA32_SMBASE
bc bc native ve IA32_MISC_PACKAGE_CTLS
bd bd own native IA32_XAPIC_DISABLE_STATUS
c1 c8 perfmon perfmon IA32_PMCx
e1 e1 umwait umwait IA32_UMWAIT_CONTROL
10a 10a own native IA32_ARCH_CAPABILITIES
10b 10b native native IA32_FLUSH_CMD
122 122 tsx tsx IA32_TSX_CTRL
174 174 native native IA32_SYSENTER_CS
175 175 native native IA32_SYSENTER_ESP
176 176 native native IA32_SYSENTER_EIP
186 18d perfmon perfmon IA32_PERFEVTSELx
195 195 gp gp IA32_OVERCLOCKING_STATUS
1a0 1a0 perfmon:own ve IA32_MISC_ENABLE
1a6 1a7 perfmon perfmon MSR_OFFCORE_RSPx
1c4 1c4 xfd xfd IA32_XFD
1c5 1c5 xfd xfd IA32_XFD_ERR
1d9 1d9 own own IA32_DEBUGCTL
1f8 1f8 ve-with:dca ve-with:dca IA32_PLATFORM_DCA_CAP
1f9 1f9 ve-with:dca ve-with:dca IA32_CPU_DCA_CAP
1fa 1fa ve-with:dca ve-with:dca IA32_DCA_0_CAP
276 276 gp gp MSR_SLAM_ENABLE
277 277 native native IA32_PAT
309 310 perfmon perfmon IA32_FIXED_CTRx
329 329 perfmon-and perfmon-and IA32_PERF_METRICS
345 345 perfmon-and:own perfmon IA32_PERF_CAPABILITIES
38d 38d perfmon perfmon IA32_FIXED_CTR_CTRL
38e 38e perfmon perfmon IA32_PERF_GLOBAL_STATUS
38f 38f perfmon perfmon IA32_PERF_GLOBAL_CTRL
390 390 perfmon perfmon IA32_PERF_GLOBAL_STATUS_RESET
391 391 perfmon perfmon IA32_PERF_GLOBAL_STATUS_SET
392 392 perfmon perfmon IA32_PERF_GLOBAL_INUSE
3f1 3f1 perfmon perfmon IA32_PEBS_ENABLE
3f2 3f2 perfmon perfmon MSR_PEBS_MATRIX_VECT
3f6 3f6 perfmon perfmon MSR_PEBS_LD_LATENCY
3f7 3f7 perfmon perfmon MSR_PEBS_FRONTEND
480 480 own gp IA32_VMX_BASIC
481 481 ve gp IA32_VMX_PINBASED_CTLS
482 482 ve gp IA32_VMX_PROCBASED_CTLS
483 483 ve gp IA32_VMX_EXIT_CTLS
484 484 ve gp IA32_VMX_ENTRY_CTLS
485 485 own gp IA32_VMX_MISC
486 486 own gp IA32_VMX_CR0_FIXED0
487 487 own gp IA32_VMX_CR0_FIXED1
488 488 own gp IA32_VMX_CR4_FIXED0
489 489 own gp IA32_VMX_CR4_FIXED1
48a 48a ve gp IA32_VMX_VMCS_ENUM
48b 48b own gp IA32_VMX_PROCBASED_CTLS2
48c 48c own gp IA32_VMX_EPT_VPID_CAP
48d 48d own gp IA32_VMX_TRUE_PINBASED_CTLS
48e 48e own gp IA32_VMX_TRUE_PROCBASED_CTLS
48f 48f own gp IA32_VMX_TRUE_EXIT_CTLS
490 490 own gp IA32_VMX_TRUE_ENTRY_CTLS
491 491 own gp IA32_VMX_VMFUNC
492 492 own gp IA32_VMX_PROCBASED_CTLS3
4c1 4c8 perfmon perfmon IA32_A_PMCx
500 500 gp gp IA32_SGX_SVN_STATUS
560 560 pt pt IA32_RTIT_OUTPUT_BASE
561 561 pt pt IA32_RTIT_OUTPUT_MASK_PTRS
570 570 pt pt IA32_RTIT_CTL
571 571 pt pt IA32_RTIT_STATUS
572 572 pt pt IA32_RTIT_CR3_MATCH
580 580 pt pt IA32_RTIT_ADDR0_A
581 581 pt pt IA32_RTIT_ADDR0_B
582 582 pt pt IA32_RTIT_ADDR1_A
583 583 pt pt IA32_RTIT_ADDR1_B
584 584 pt pt IA32_RTIT_ADDR2_A
585 585 pt pt IA32_RTIT_ADDR2_B
586 586 pt pt IA32_RTIT_ADDR3_A
587 587 pt pt IA32_RTIT_ADDR3_B
600 600 native native IA32_DS_AREA
6a0 6a0 cet cet IA32_U_CET
6a2 6a2 cet cet IA32_S_CET
6a4 6a4 cet cet IA32_PL0_SSP
6a5 6a5 cet cet IA32_PL1_SSP
6a6 6a6 cet cet IA32_PL2_SSP
6a7 6a7 cet cet IA32_PL3_SSP
6a8 6a8 cet cet IA32_INTERRUPT_SSP_TABLE_ADDR
6e0 6e0 ve-with:tsc-deadline ve-with:tsc-deadline IA32_TSC_DEADLINE
6e1 6e1 pks pks IA32_PKRS
800 801 gp gp Reserved for xAPIC MSRs
802 802 own gp IA32_X2APIC_APICID
804 807 gp gp Reserved for xAPIC MSRs
808 808 native native IA32_X2APIC_TPR
809 809 native native Reserved for xAPIC MSRs
80a 80a native native IA32_X2APIC_PPR
80b 80b native native IA32_X2APIC_EOI
80c 80c native native Reserved for xAPIC MSRs
80e 80e native native Reserved for xAPIC MSRs
810 817 native native IA32_X2APIC_ISRx
818 81f native native IA32_X2APIC_TMRx
820 827 native native IA32_X2APIC_IRRx
829 82e gp gp Reserved for xAPIC MSRs
831 831 gp gp Reserved for xAPIC MSRs
83f 83f native native IA32_X2APIC_SELF_IPI
840 87f gp gp Reserved for xAPIC MSRs
880 8bf gp gp Reserved for xAPIC MSRs
8c0 8ff gp gp Reserved for xAPIC MSRs
981 981 ve-with:tme ve-with:tme IA32_TME_CAPABILITY
982 982 ve-with:tme ve-with:tme IA32_TME_ACTIVATE
983 983 ve-with:tme ve-with:tme IA32_TME_EXCLUDE_MASK
984 984 ve-with:tme ve-with:tme IA32_TME_EXCLUDE_BASE
985 985 uli uli IA32_UINTR_RR
986 986 uli uli IA32_UINTR_HANDLER
987 987 uli uli IA32_UINTR_STACKADJUST
988 988 uli uli IA32_UINTR_MISC
989 989 uli uli IA32_UINTR_PD
98a 98a uli uli IA32_UINTR_TT
c80 c80 native ve IA32_DEBUG_INTERFACE
d90 d90 gp gp IA32_BNDCFGS
d93 d93 gp gp IA32_PASID
da0 da0 native own IA32_XSS
1200 12ff lbr lbr IA32_LBR_INFO
14ce 14ce lbr lbr IA32_LBR_CTL
14cf 14cf lbr lbr IA32_LBR_DEPTH
1500 15ff lbr lbr IA32_LBR_x_FROM_IP
1600 16ff lbr lbr IA32_LBR_x_TO_IP
1b01 1b01 native native IA32_UARCH_MISC_CTL
c0000080 c0000080 native own IA32_EFER
c0000081 c0000081 native native IA32_STAR
c0000082 c0000082 native native IA32_LSTAR
c0000084 c0000084 native native IA32_FMASK
c0000100 c0000100 native native IA32_FSBASE
c0000101 c0000101 native native IA32_GSBASE
c0000102 c0000102 native native IA32_KERNEL_GS_BASE
c0000103 c0000103 native native IA32_TSC_AUX
`;

/**
 * MSRs that guests find otherwise where TD_CTLS.REDUCE_VE exists (TDX_FEATURES0.VE_REDUCTION). reduced: #GP with REDUCE_VE, #VE
 * without, as for an MSR that has no row here. Source: auto_gen_1_5/msr_config_lookup.c of 1.5.25.
 */
export const VE_REDUCTION_MSRS = `
0 1 ve ve IA32_P5_MC_ADDR
6 6 ve ve IA32_MONITOR_FILTER_SIZE
17 17 ve reduced IA32_PLATFORM_ID
1b 1b ve ve IA32_APIC_BASE
33 33 ve-with:core-capabilities ve-with:core-capabilities MSR_MEMORY_CTRL
34 34 own own MSR_SMI_COUNT
3a 3a own reduced IA32_FEATURE_CONTROL
4e 4e own reduced IA32_PPIN_CTL
79 79 reduced own IA32_BIOS_UPDT_TRIG
8b 8b own own IA32_BIOS_SIGN_ID
ce ce own reduced MSR_PLATFORM_INFO
cf cf ve-with:core-capabilities gp IA32_CORE_CAPABILITIES
ed f0 ve-with:core-capabilities ve-with:core-capabilities MSR_RAR_CONTROL
fe fe ve-with:mtrr gp IA32_MTRRCAP
140 140 own own MSR_FEATURE_ENABLES
179 179 ve-with:mca gp IA32_MCG_CAP
17a 17b ve-with:mca ve-with:mca IA32_MCG_STATUS
198 199 ve-with:est ve-with:est IA32_PERF_STATUS
19a 19c ve-with:acpi ve-with:acpi IA32_CLOCK_MODULATION
19d 19d ve-with:tm2 ve-with:tm2 MSR_THERM2_CTL
1a0 1a0 own own IA32_MISC_ENABLE
1f2 1f3 ve-with:mtrr ve-with:mtrr IA32_SMRR_PHYSBASE
1f6 1f7 ve-with:mtrr ve-with:mtrr IA32_SMRR2_PHYSBASE
200 213 ve-with:mtrr ve-with:mtrr IA32_MTRR_PHYSBASE0
250 250 ve-with:mtrr ve-with:mtrr IA32_MTRR_FIX64K_00000
258 259 ve-with:mtrr ve-with:mtrr IA32_MTRR_FIX16K_80000
268 26f ve-with:mtrr ve-with:mtrr IA32_MTRR_FIX4K_C0000
280 29f ve-with:mca ve-with:mca IA32_MCx_CTL2
2a0 2a7 ve-with:mtrr ve-with:mtrr IA32_PRMRR_BASEx
2c0 2c1 ve-with:mtrr ve-with:mtrr IA32_FUSARR_BASE
2ff 2ff ve-with:mtrr ve-with:mtrr IA32_MTRR_DEF_TYPE
400 473 ve-with:mca ve-with:mca IA32_MC0_CTL
481 484 reduced gp IA32_VMX_PINBASED_CTLS
48a 48a reduced gp IA32_VMX_VMCS_ENUM
4d0 4d0 ve-with:mca ve-with:mca IA32_MCG_EXT_CTL
803 803 ve gp IA32_X2APIC_VERSION
80d 80d ve gp IA32_X2APIC_LDR
80f 80f ve ve IA32_X2APIC_SIVR
828 828 ve ve IA32_X2APIC_ESR
82f 830 ve ve IA32_X2APIC_LVT_CMCI
832 838 ve ve IA32_X2APIC_LVT_TIMER
839 839 ve gp IA32_X2APIC_CUR_COUNT
83a 83a ve ve IA32_X2APIC_LVT_HWP
83b 83d gp gp Reserved for xAPIC MSRs
83e 83e ve ve IA32_X2APIC_DIV_CONF
c80 c80 gp reduced IA32_DEBUG_INTERFACE
c81 c82 ve-with:rdt-a ve-with:rdt-a IA32_L3_QOS_CFG
c8d c8f ve-with:rdt-m ve-with:rdt-m IA32_QM_EVTSEL
c90 d8f ve-with:rdt-a ve-with:rdt-a IA32_L3_QOS_MASK_x
c0000083 c0000083 ve ve IA32_CSTAR
`;
