import type { NamedBitsTable } from './bits.js';

/**
 * Bits of XFAM, which are those of XCR0 and IA32_XSS (Intel SDM volume 1, 13.1; enum xfeature of the kernel's
 * asm/fpu/types.h), and groups that only make sense whole. A group contains what its members depend on.
 */
export const XFAM_FEATURES = {
  X87: { bits: [0], meaning: 'x87 floating point; always set' },
  SSE: { bits: [1], meaning: 'SSE: XMM registers; always set' },
  AVX: { bits: [2], meaning: 'AVX: upper halves of YMM registers' },
  BNDREGS: { bits: [3], meaning: 'MPX bound registers' },
  BNDCSR: { bits: [4], meaning: 'MPX configuration' },
  OPMASK: { bits: [5], meaning: 'AVX-512 opmask registers; with bits 2, 6 and 7' },
  ZMM_HI256: { bits: [6], meaning: 'AVX-512 upper halves of ZMM0 to 15; with bits 2, 5 and 7' },
  HI16_ZMM: { bits: [7], meaning: 'AVX-512 ZMM16 to 31; with bits 2, 5 and 6' },
  PT: { bits: [8], meaning: 'Intel Processor Trace' },
  PKRU: { bits: [9], meaning: 'User protection keys' },
  PASID: { bits: [10], meaning: 'PASID register (ENQCMD)' },
  CET_U: { bits: [11], meaning: 'CET user state; with bit 12' },
  CET_S: { bits: [12], meaning: 'CET supervisor state; with bit 11' },
  HDC: { bits: [13], meaning: 'Hardware duty cycling' },
  UINTR: { bits: [14], meaning: 'User interrupts' },
  LBR: { bits: [15], meaning: 'Last branch records' },
  HWP: { bits: [16], meaning: 'Hardware P-states' },
  XTILECFG: { bits: [17], meaning: 'AMX tile configuration; with bit 18' },
  XTILEDATA: { bits: [18], meaning: 'AMX tile data; with bit 17' },
  APX: { bits: [19], meaning: 'APX extended general-purpose registers' },
  AVX512: { bits: [2, 5, 6, 7], meaning: 'AVX-512 and the AVX it needs: AVX, OPMASK, ZMM_HI256, HI16_ZMM' },
  CET: { bits: [11, 12], meaning: 'Control-flow enforcement: CET_U and CET_S' },
  AMX: { bits: [17, 18], meaning: 'Advanced matrix extensions: XTILECFG and XTILEDATA' },
} as const satisfies NamedBitsTable;

export type XfamName = keyof typeof XFAM_FEATURES;

/** x87 and SSE: KVM sets them in every TD (xfam_fixed1). */
export const XFAM_ALWAYS = 0x3n;
