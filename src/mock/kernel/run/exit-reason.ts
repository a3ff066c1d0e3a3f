/** VMX basic exit reasons (SDM volume 3, appendix C). */
export const EXIT_REASON = {
  EXCEPTION_NMI: 0,
  EXTERNAL_INTERRUPT: 1,
  TRIPLE_FAULT: 2,
  OTHER_SMI: 6,
  CPUID: 10,
  HLT: 12,
  VMCALL: 18,
  IO_INSTRUCTION: 30,
  MSR_READ: 31,
  MSR_WRITE: 32,
  EPT_VIOLATION: 48,
  EPT_MISCONFIG: 49,
  TDCALL: 77,
} as const;
