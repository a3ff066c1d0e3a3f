import type { NamedBitsTable } from './bits.js';

/**
 * Bits of TD_PARAMS.ATTRIBUTES. Numbers: arch/x86/include/asm/shared/tdx.h (TDX_TD_ATTR_*, Linux 6.16) and td_param_attributes_t
 * of Intel's module source. Which of them a TD may have is supported_attrs of KVM_TDX_CAPABILITIES; Linux 6.16 offers
 * SEPT_VE_DISABLE only.
 */
export const TD_ATTRIBUTES = {
  DEBUG: { bits: [0], meaning: 'The host may read and write the memory and state of the TD: not for production' },
  HGS_PLUS_PROF: { bits: [4], meaning: 'HGS+ profiling of the TD by the host' },
  PERF_PROF: { bits: [5], meaning: 'Performance profiling of the TD by the host' },
  PMT_PROF: { bits: [6], meaning: 'Platform monitoring telemetry of the TD by the host' },
  ICSSD: { bits: [16], meaning: 'Instruction-count based single-step defence; not together with PERFMON' },
  LASS: { bits: [27], meaning: 'Linear address space separation may be used' },
  SEPT_VE_DISABLE: {
    bits: [28],
    meaning: 'A private page that is not accepted gives no #VE in the guest; Linux guests need it',
  },
  MIGRATABLE: { bits: [29], meaning: 'The TD can be migrated; not together with DEBUG or PERFMON' },
  PKS: { bits: [30], meaning: 'Supervisor protection keys may be used' },
  KL: { bits: [31], meaning: 'Key Locker may be used' },
  TPA: { bits: [62], meaning: 'The TD is a TDX Connect provisioning agent' },
  PERFMON: { bits: [63], meaning: 'Performance monitoring (CPUID leaf 0xA) may be used' },
} as const satisfies NamedBitsTable;

export type TdAttributeName = keyof typeof TD_ATTRIBUTES;
