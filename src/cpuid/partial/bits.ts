/**
 * 64 bits of which some are not known: those of `unknown`, because nobody said what the host has, and those of `guest`,
 * because the guest decides. `value` is 0 there, and the three have no bit in common.
 */
export interface Bits {
  readonly value: bigint;
  readonly unknown: bigint;
  readonly guest: bigint;
}

export const U64 = (1n << 64n) - 1n;
export const U32 = 0xffff_ffffn;

export const known = (value: bigint): Bits => ({ value, unknown: 0n, guest: 0n });
export const ZERO = known(0n);
export const ONE = known(1n);
export const UNKNOWN: Bits = { value: 0n, unknown: U64, guest: 0n };
export const GUEST: Bits = { value: 0n, unknown: 0n, guest: U64 };

const open = (a: Bits): bigint => a.unknown | a.guest;
export const isKnown = (a: Bits): boolean => open(a) === 0n;

/** The smallest and the largest value that `a` may be. */
export const least = (a: Bits): bigint => a.value;
export const most = (a: Bits): bigint => a.value | open(a);

/** Bits of `mask` about which nothing is known, for the reason that something in `of` is not known. */
export const openBits = (mask: bigint, ...of: readonly Bits[]): Bits =>
  of.some(({ unknown }) => unknown !== 0n)
    ? { value: 0n, unknown: mask, guest: 0n }
    : { value: 0n, unknown: 0n, guest: mask };

const make = (value: bigint, unknown: bigint, guest: bigint): Bits => ({
  value: value & ~unknown & ~guest,
  unknown,
  guest: guest & ~unknown,
});

/** Bits that are certainly 0. */
const zeros = (a: Bits): bigint => U64 & ~(a.value | open(a));

export function and(a: Bits, b: Bits): Bits {
  const may = ~zeros(a) & ~zeros(b) & U64;
  return make(a.value & b.value, (a.unknown | b.unknown) & may, (a.guest | b.guest) & may);
}

export function or(a: Bits, b: Bits): Bits {
  const open = ~(a.value | b.value);
  return make(a.value | b.value, (a.unknown | b.unknown) & open, (a.guest | b.guest) & open);
}

export const xor = (a: Bits, b: Bits): Bits => make(a.value ^ b.value, a.unknown | b.unknown, a.guest | b.guest);
export const not = (a: Bits): Bits => make(U64 & ~a.value, a.unknown, a.guest);
const map = (a: Bits, f: (part: bigint) => bigint): Bits => ({
  value: f(a.value),
  unknown: f(a.unknown),
  guest: f(a.guest),
});
export const shiftLeft = (a: Bits, by: bigint): Bits => map(a, (part) => (by > 63n ? 0n : (part << by) & U64));
export const shiftRight = (a: Bits, by: bigint): Bits => map(a, (part) => (by > 63n ? 0n : part >> by));
export const keep = (a: Bits, mask: bigint): Bits => map(a, (part) => part & mask);

/** Whether `a` is not 0, as one bit. */
export function truth(a: Bits): Bits {
  if (a.value !== 0n) return ONE;
  return isKnown(a) ? ZERO : openBits(1n, a);
}

/** What holds in either case: for a condition that is not known. */
export function either(condition: Bits, a: Bits, b: Bits): Bits {
  const differ = a.value ^ b.value;
  const by = openBits(differ & ~open(a) & ~open(b), condition);
  return make(a.value & b.value, a.unknown | b.unknown | by.unknown, a.guest | b.guest | by.guest);
}

export const choose = (condition: Bits, then: () => Bits, otherwise: () => Bits): Bits => {
  const test = truth(condition);
  if (isKnown(test)) return test.value ? then() : otherwise();
  return either(test, then(), otherwise());
};

const verdict = (holds: boolean | undefined, a: Bits, b: Bits): Bits =>
  holds === undefined ? openBits(1n, a, b) : holds ? ONE : ZERO;

export function equal(a: Bits, b: Bits): Bits {
  const both = ~open(a) & ~open(b);
  if (((a.value ^ b.value) & both) !== 0n) return ZERO;
  return verdict(isKnown(a) && isKnown(b) ? true : undefined, a, b);
}

export const below = (a: Bits, b: Bits): Bits =>
  verdict(most(a) < least(b) ? true : least(a) >= most(b) ? false : undefined, a, b);

export const flip = (test: Bits): Bits => keep(not(test), 1n);

/** `f` of values that are all known; else nothing is known. */
export const calculate = (f: (...values: bigint[]) => bigint, ...of: readonly Bits[]): Bits =>
  of.every(isKnown) ? known(BigInt.asUintN(64, f(...of.map(({ value }) => value)))) : openBits(U64, ...of);
