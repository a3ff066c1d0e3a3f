// Numbers of the x87 unit, exactly: 64 bits of significand in a bigint. Zeros and normal numbers only.
import { Stuck } from '../../cpu/fault.js';

/** ±significand·2^exponent; the significand is 0 or has 64 bits. */
export interface Real {
  negative: boolean;
  significand: bigint;
  exponent: number;
}

const BITS = 64;
const EXPONENT_BIAS = 16383;
/** Of the significand's lowest bit, not of its highest. */
const LOWEST_BIT_BIAS = EXPONENT_BIAS + BITS - 1;
const EXPONENT_MASK = 0x7fff;

const bitLength = (value: bigint): number => (value === 0n ? 0 : value.toString(2).length);

export type Rounding = 'nearest' | 'down' | 'up' | 'zero';

/** `magnitude`·2^-`shift` as an integer, and what happened to the rest. */
function shiftRight(
  magnitude: bigint,
  shift: number,
  negative: boolean,
  rounding: Rounding,
): { value: bigint; inexact: boolean } {
  if (shift <= 0) return { value: magnitude << BigInt(-shift), inexact: false };
  const value = magnitude >> BigInt(shift);
  const rest = magnitude - (value << BigInt(shift));
  if (rest === 0n) return { value, inexact: false };
  const half = 1n << BigInt(shift - 1);
  const up =
    rounding === 'nearest'
      ? rest > half || (rest === half && (value & 1n) === 1n)
      : rounding === (negative ? 'down' : 'up');
  return { value: up ? value + 1n : value, inexact: true };
}

export interface Rounded {
  real: Real;
  inexact: boolean;
}

/** ±magnitude·2^exponent in 64 bits. */
export function rounded(negative: boolean, magnitude: bigint, exponent: number, rounding: Rounding): Rounded {
  if (magnitude === 0n) return { real: { negative, significand: 0n, exponent: 0 }, inexact: false };
  const shift = bitLength(magnitude) - BITS;
  const { value, inexact } = shiftRight(magnitude, shift, negative, rounding);
  const carried = bitLength(value) > BITS;
  const real = { negative, significand: carried ? value >> 1n : value, exponent: exponent + shift + (carried ? 1 : 0) };
  return { real, inexact };
}

export function fromInteger(value: bigint): Real {
  return rounded(value < 0n, value < 0n ? -value : value, 0, 'nearest').real;
}

/** An integer, or undefined beyond `bits`. */
export function toInteger({ negative, significand, exponent }: Real, bits: number, rounding: Rounding) {
  const { value, inexact } = shiftRight(significand, -exponent, negative, rounding);
  const signed = negative ? -value : value;
  return BigInt.asIntN(bits, signed) === signed ? { value: signed, inexact } : undefined;
}

const special = (what: string): Stuck => new Stuck(`x87 with ${what}`);

/** From the ten bytes of a register. */
export function fromExtended(significand: bigint, signAndExponent: number): Real {
  const negative = signAndExponent >= 0x8000;
  const exponent = signAndExponent & EXPONENT_MASK;
  if (significand === 0n && exponent === 0) return { negative, significand, exponent };
  if (exponent === EXPONENT_MASK) throw special('an infinity or NaN');
  if (significand >> 63n === 0n) throw special('a denormal number');
  return { negative, significand, exponent: exponent - LOWEST_BIT_BIAS };
}

export function toExtended({ negative, significand, exponent }: Real): [bigint, number] {
  const biased = significand === 0n ? 0 : exponent + LOWEST_BIT_BIAS;
  if (biased < 0 || biased >= EXPONENT_MASK || (biased === 0 && significand !== 0n)) throw special('an overflow');
  return [significand, biased + (negative ? 0x8000 : 0)];
}

/** Formats of memory: bits of the stored significand, of the exponent. */
const FORMATS = { 32: [23, 8], 64: [52, 11] } as const;

/** A float or double by its bits. */
export function fromBits(bits: bigint, size: 32 | 64): Real {
  const [fraction, exponentBits] = FORMATS[size];
  const negative = bits >> BigInt(size - 1) === 1n;
  const exponent = Number((bits >> BigInt(fraction)) & ((1n << BigInt(exponentBits)) - 1n));
  const stored = bits & ((1n << BigInt(fraction)) - 1n);
  if (exponent === 0 && stored === 0n) return { negative, significand: 0n, exponent: 0 };
  if (exponent === 0) throw special('a denormal number');
  if (exponent === (1 << exponentBits) - 1) throw special('an infinity or NaN');
  const bias = (1 << (exponentBits - 1)) - 1 + fraction;
  return rounded(negative, stored | (1n << BigInt(fraction)), exponent - bias, 'nearest').real;
}

export function toBits(real: Real, size: 32 | 64, rounding: Rounding): { bits: bigint; inexact: boolean } {
  const [fraction, exponentBits] = FORMATS[size];
  const sign = real.negative ? 1n << BigInt(size - 1) : 0n;
  if (real.significand === 0n) return { bits: sign, inexact: false };
  const dropped = BITS - 1 - fraction;
  const { value, inexact } = shiftRight(real.significand, dropped, real.negative, rounding);
  const carried = value >> BigInt(fraction + 1) === 1n ? 1 : 0;
  const biased = real.exponent + dropped + carried + (1 << (exponentBits - 1)) - 1 + fraction;
  if (biased <= 0 || biased >= (1 << exponentBits) - 1) throw special('an overflow');
  const stored = BigInt.asUintN(fraction, value >> BigInt(carried));
  return { bits: sign | (BigInt(biased) << BigInt(fraction)) | stored, inexact };
}

/** Two numbers with one exponent. */
function aligned(a: Real, b: Real): [bigint, bigint, number] {
  const exponent =
    a.significand === 0n ? b.exponent : b.significand === 0n ? a.exponent : Math.min(a.exponent, b.exponent);
  const at = ({ negative, significand, exponent: own }: Real) => {
    const magnitude = significand === 0n ? 0n : significand << BigInt(own - exponent);
    return negative ? -magnitude : magnitude;
  };
  return [at(a), at(b), exponent];
}

/** Negative, zero, or positive, as a - b is. */
export function compare(a: Real, b: Real): number {
  const [x, y] = aligned(a, b);
  return x < y ? -1 : x > y ? 1 : 0;
}

export const negated = (real: Real): Real => ({ ...real, negative: !real.negative });

export function sum(a: Real, b: Real, rounding: Rounding): Rounded {
  const [x, y, exponent] = aligned(a, b);
  const total = x + y;
  // x - x is +0, but -0 when rounding down; -0 + -0 is -0.
  const negative = total < 0n || (total === 0n && (a.negative === b.negative ? a.negative : rounding === 'down'));
  return rounded(negative, total < 0n ? -total : total, exponent, rounding);
}

export const product = (a: Real, b: Real, rounding: Rounding): Rounded =>
  rounded(a.negative !== b.negative, a.significand * b.significand, a.exponent + b.exponent, rounding);

/** With two bits more than needed, the last of which says that there is a rest. */
export function quotient(a: Real, b: Real, rounding: Rounding): Rounded {
  if (b.significand === 0n) throw special('a division by zero');
  const scale = BITS + 2;
  const scaled = a.significand << BigInt(scale);
  const whole = scaled / b.significand;
  const sticky = scaled % b.significand === 0n ? 0n : 1n;
  return rounded(a.negative !== b.negative, (whole << 1n) | sticky, a.exponent - b.exponent - scale - 1, rounding);
}
