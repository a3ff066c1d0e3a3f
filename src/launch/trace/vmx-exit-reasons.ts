/** Basic VMX exit reasons that a TDX module or KVM gives (Intel SDM), by the names of Linux's asm/vmx.h. */
const EXIT_REASONS: Readonly<Record<number, string>> = {
  0: 'EXCEPTION_NMI',
  1: 'EXTERNAL_INTERRUPT',
  2: 'TRIPLE_FAULT',
  3: 'INIT_SIGNAL',
  7: 'INTERRUPT_WINDOW',
  9: 'TASK_SWITCH',
  10: 'CPUID',
  12: 'HLT',
  13: 'INVD',
  14: 'INVLPG',
  15: 'RDPMC',
  16: 'RDTSC',
  18: 'VMCALL',
  28: 'CR_ACCESS',
  29: 'DR_ACCESS',
  30: 'IO_INSTRUCTION',
  31: 'MSR_READ',
  32: 'MSR_WRITE',
  33: 'INVALID_STATE',
  36: 'MWAIT_INSTRUCTION',
  37: 'MONITOR_TRAP_FLAG',
  39: 'MONITOR_INSTRUCTION',
  40: 'PAUSE_INSTRUCTION',
  41: 'MCE_DURING_VMENTRY',
  46: 'GDTR_IDTR',
  47: 'LDTR_TR',
  48: 'EPT_VIOLATION',
  49: 'EPT_MISCONFIG',
  51: 'RDTSCP',
  52: 'PREEMPTION_TIMER',
  54: 'WBINVD',
  55: 'XSETBV',
  57: 'RDRAND',
  58: 'INVPCID',
  59: 'VMFUNC',
  60: 'ENCLS',
  61: 'RDSEED',
  65: 'PCONFIG',
  67: 'UMWAIT',
  68: 'TPAUSE',
  74: 'BUS_LOCK',
  75: 'NOTIFY',
  76: 'SEAMCALL',
  77: 'TDCALL',
};

/** `IO_INSTRUCTION (30)`. */
export const exitReasonText = (reason: number): string => {
  const name = EXIT_REASONS[reason & 0xffff];
  return name ? `${name} (${reason})` : `exit reason ${reason}`;
};

/** Exceptions that a TDX module injects (Intel SDM). */
const VECTORS: Readonly<Record<number, string>> = { 6: '#UD', 13: '#GP', 14: '#PF', 20: '#VE' };

export const vectorText = (vector: number): string => VECTORS[vector] ?? `exception ${vector}`;
