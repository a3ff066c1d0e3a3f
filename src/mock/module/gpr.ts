/** Indices of general-purpose registers, in the order of their encodings. */
export const GPR = {
  RAX: 0,
  RCX: 1,
  RDX: 2,
  RBX: 3,
  RSP: 4,
  RBP: 5,
  RSI: 6,
  RDI: 7,
  R8: 8,
  R9: 9,
  R10: 10,
  R11: 11,
  R12: 12,
  R13: 13,
  R14: 14,
  R15: 15,
} as const;

export const LOW_32 = 0xffff_ffffn;

export const joined = (high: bigint, low: bigint): bigint => ((high & LOW_32) << 32n) | (low & LOW_32);
