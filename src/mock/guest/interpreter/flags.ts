import { AF, CF, OF, PF, SF, STATUS_FLAGS, ZF } from '../cpu/bits.js';
import type { Machine } from './machine.js';

/** PF of a result's low byte. */
const PARITY = Uint8Array.from({ length: 256 }, (_, byte) => {
  let ones = 0;
  for (let bits = byte; bits !== 0; bits >>= 1) ones += bits & 1;
  return ones % 2 === 0 ? PF : 0;
});

/** ZF, SF and PF of a value of `bits` (8, 16 or 32). */
export function signZeroParity(value: number, bits: number): number {
  const top = value << (32 - bits);
  return (top === 0 ? ZF : 0) | (top < 0 ? SF : 0) | (PARITY[value & 0xff] as number);
}

export const signZeroParity64 = (lo: number, hi: number): number =>
  ((lo | hi) === 0 ? ZF : 0) | (hi < 0 ? SF : 0) | (PARITY[lo & 0xff] as number);

export function setStatus(m: Machine, flags: number): void {
  m.state.flags = (m.state.flags & ~STATUS_FLAGS) | flags;
}

/** Sets those of the six that `mask` has, leaves the others. */
export function setSome(m: Machine, mask: number, flags: number): void {
  m.state.flags = (m.state.flags & ~mask) | (flags & mask);
}

type Condition = (flags: number) => boolean;
const less: Condition = (flags) => ((flags & SF) !== 0) !== ((flags & OF) !== 0);

/** Conditions by the suffix of Jcc, SETcc and CMOVcc, as the decoder spells them. */
export const CONDITIONS: Readonly<Record<string, Condition>> = {
  o: (flags) => (flags & OF) !== 0,
  no: (flags) => (flags & OF) === 0,
  b: (flags) => (flags & CF) !== 0,
  ae: (flags) => (flags & CF) === 0,
  e: (flags) => (flags & ZF) !== 0,
  ne: (flags) => (flags & ZF) === 0,
  be: (flags) => (flags & (CF | ZF)) !== 0,
  a: (flags) => (flags & (CF | ZF)) === 0,
  s: (flags) => (flags & SF) !== 0,
  ns: (flags) => (flags & SF) === 0,
  p: (flags) => (flags & PF) !== 0,
  np: (flags) => (flags & PF) === 0,
  l: less,
  ge: (flags) => !less(flags),
  le: (flags) => (flags & ZF) !== 0 || less(flags),
  g: (flags) => (flags & ZF) === 0 && !less(flags),
};

/** Flags of a + b = r, carry given, for `bits` of 8, 16 or 32. */
export function addFlags(a: number, b: number, r: number, carry: boolean, bits: number): number {
  const overflow = ((a ^ r) & (b ^ r)) << (32 - bits) < 0;
  return (carry ? CF : 0) | (overflow ? OF : 0) | ((a ^ b ^ r) & AF) | signZeroParity(r, bits);
}

/** Flags of a - b = r, borrow given. */
export function subFlags(a: number, b: number, r: number, borrow: boolean, bits: number): number {
  const overflow = ((a ^ b) & (a ^ r)) << (32 - bits) < 0;
  return (borrow ? CF : 0) | (overflow ? OF : 0) | ((a ^ b ^ r) & AF) | signZeroParity(r, bits);
}
