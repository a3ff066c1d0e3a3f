// Bits of RFLAGS, the control registers and EFER (Intel SDM volume 3, chapters 2 and 3), as numbers.

export const CF = 1;
export const PF = 4;
export const AF = 0x10;
export const ZF = 0x40;
export const SF = 0x80;
export const TF = 0x100;
export const IF = 0x200;
export const DF = 0x400;
export const OF = 0x800;
export const IOPL = 0x3000;
export const NT = 0x4000;
export const RF = 0x1_0000;
export const VM = 0x2_0000;
export const AC = 0x4_0000;
export const ID = 0x20_0000;
/** The six that arithmetic sets. */
export const STATUS_FLAGS = CF | PF | AF | ZF | SF | OF;

export const CR0_PE = 1;
export const CR0_EM = 4;
export const CR0_TS = 8;
export const CR0_NE = 0x20;
export const CR0_WP = 0x1_0000;
export const CR0_NW = 0x2000_0000;
export const CR0_CD = 0x4000_0000;
export const CR0_PG = 0x8000_0000;

export const CR4_PAE = 0x20;
export const CR4_MCE = 0x40;
export const CR4_OSFXSR = 0x200;
export const CR4_LA57 = 0x1000;
export const CR4_VMXE = 0x2000;
export const CR4_SMXE = 0x4000;
export const CR4_FSGSBASE = 0x1_0000;
export const CR4_PCIDE = 0x2_0000;
export const CR4_OSXSAVE = 0x4_0000;
export const CR4_SMEP = 0x10_0000;
export const CR4_SMAP = 0x20_0000;
export const CR4_CET = 0x80_0000;

export const EFER_SCE = 1;
export const EFER_LME = 0x100;
export const EFER_LMA = 0x400;
export const EFER_NXE = 0x800;

/** General registers, by encoding. */
export const RAX = 0;
export const RCX = 1;
export const RDX = 2;
export const RBX = 3;
export const RSP = 4;
export const RBP = 5;
export const RSI = 6;
export const RDI = 7;
export const R11 = 11;

export const VECTOR = {
  DE: 0,
  DB: 1,
  BP: 3,
  OF: 4,
  BR: 5,
  UD: 6,
  NM: 7,
  DF: 8,
  TS: 10,
  NP: 11,
  SS: 12,
  GP: 13,
  PF: 14,
  MF: 16,
  AC: 17,
  MC: 18,
  XM: 19,
  VE: 20,
  CP: 21,
} as const;
