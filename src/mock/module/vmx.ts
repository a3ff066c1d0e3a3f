/** VMX basic exit reasons that this model uses (Intel SDM volume 3, appendix C). */
export const EXIT_REASON = {
  EXTERNAL_INTERRUPT: 1,
  TRIPLE_FAULT: 2,
  CPUID: 10,
  HLT: 12,
  INVD: 13,
  RDPMC: 15,
  VMCALL: 18,
  IO: 30,
  RDMSR: 31,
  WRMSR: 32,
  INVALID_GUEST_STATE: 33,
  MWAIT: 36,
  MONITOR: 39,
  EPT_VIOLATION: 48,
  WBINVD: 54,
  XSETBV: 55,
  TDCALL: 77,
} as const;
export type ExitReason = (typeof EXIT_REASON)[keyof typeof EXIT_REASON];

export const VECTOR = { NMI: 2, UD: 6, DF: 8, GP: 13, PF: 14, VE: 20 } as const;

/** Exit qualification of an EPT violation (Intel SDM volume 3, table 28-7). */
export const EPT_QUALIFICATION = {
  READ: 1n << 0n,
  WRITE: 1n << 1n,
  EXECUTE: 1n << 2n,
  GLA_VALID: 1n << 7n,
  /** Not an access to a page table of the guest. */
  FINAL: 1n << 8n,
} as const;

/** Types of the extended exit qualification (vmcs_defs.h vmx_eeq_type_t). */
export const EXTENDED_QUALIFICATION = { NONE: 0n, ACCEPT: 1n, ATTR_WR: 5n, PENDING_EPT_VIOLATION: 6n } as const;

export const RFLAGS_RF = 1n << 16n;
