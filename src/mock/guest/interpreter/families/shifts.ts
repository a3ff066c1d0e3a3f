// SHL SHR SAR, ROL ROR RCL RCR, SHLD SHRD. Flags that are undefined are as Intel processors leave them where that is simple.
import { CF, OF, PF, SF, ZF } from '../../cpu/bits.js';
import { bigPlaceOf } from '../big.js';
import { setSome, setStatus, signZeroParity } from '../flags.js';
import type { Machine } from '../machine.js';
import { placeOf } from '../places.js';
import { widthOf } from './arithmetic.js';
import type { Family, Translate } from './family.js';

/** A result with the carry and overflow it leaves. */
interface Shifted {
  r: bigint;
  carry: boolean;
  overflow: boolean;
}

/** @param x unsigned. @param n 1 to 63. */
type Shift = (x: bigint, n: number, bits: number, carry: bigint) => Shifted;

const bit = (x: bigint, at: number): boolean => ((x >> BigInt(at)) & 1n) !== 0n;
const topBit = (x: bigint, bits: number): boolean => bit(x, bits - 1);

const shl: Shift = (x, n, bits) => {
  const all = x << BigInt(n);
  const r = BigInt.asUintN(bits, all);
  const carry = bit(all, bits);
  return { r, carry, overflow: topBit(r, bits) !== carry };
};
const shr: Shift = (x, n, bits) => ({ r: x >> BigInt(n), carry: bit(x, n - 1), overflow: topBit(x, bits) });
const sar: Shift = (x, n, bits) => {
  const value = BigInt.asIntN(bits, x);
  return { r: BigInt.asUintN(bits, value >> BigInt(n)), carry: bit(value, n - 1), overflow: false };
};
const rol: Shift = (x, n, bits) => {
  const by = BigInt(n % bits);
  const r = BigInt.asUintN(bits, (x << by) | (x >> (BigInt(bits) - by)));
  const carry = bit(r, 0);
  return { r, carry, overflow: topBit(r, bits) !== carry };
};
const ror: Shift = (x, n, bits) => {
  const by = BigInt(n % bits);
  const r = BigInt.asUintN(bits, (x >> by) | (x << (BigInt(bits) - by)));
  return { r, carry: topBit(r, bits), overflow: topBit(r, bits) !== bit(r, bits - 2) };
};
/** Rotates carry and operand together, as bits + 1 bits. */
const rcl: Shift = (x, n, bits, carry) => {
  const size = bits + 1;
  const by = BigInt(n % size);
  const all = (carry << BigInt(bits)) | x;
  const turned = BigInt.asUintN(size, (all << by) | (all >> (BigInt(size) - by)));
  const r = BigInt.asUintN(bits, turned);
  return { r, carry: bit(turned, bits), overflow: topBit(r, bits) !== bit(turned, bits) };
};
const rcr: Shift = (x, n, bits, carry) => {
  const size = bits + 1;
  const { r, carry: out } = rcl(x, size - (n % size), bits, carry);
  return { r, carry: out, overflow: topBit(r, bits) !== bit(r, bits - 2) };
};

const signZeroParityBig = (r: bigint, bits: number): number => {
  const low = signZeroParity(Number(r & 0xffn), 8) & PF;
  return (r === 0n ? ZF : 0) | (topBit(r, bits) ? SF : 0) | low;
};

const carryOverflow = ({ carry, overflow }: Omit<Shifted, 'r'>): number => (carry ? CF : 0) | (overflow ? OF : 0);

/** @param rotate only CF and OF are set. */
function shift(compute: Shift, rotate: boolean): Translate {
  return (insn) => {
    const bits = widthOf(insn);
    const place = bigPlaceOf(insn, insn.operands[0], bits);
    const count = placeOf(insn, insn.operands[1], 8);
    const mask = bits === 64 ? 63 : 31;
    return (m) => {
      const x = place.readForWrite(m);
      const n = count.read(m) & mask;
      if (n === 0) return place.writeBack(m, x);
      const result = compute(x, n, bits, (m.state.flags & CF) !== 0 ? 1n : 0n);
      place.writeBack(m, result.r);
      if (rotate) setSome(m, CF | OF, carryOverflow(result));
      else setStatus(m, carryOverflow(result) | signZeroParityBig(result.r, bits));
    };
  };
}

type Narrow = (m: Machine, x: number, n: number) => number;
const shl32: Narrow = (m, x, n) => {
  const r = x << n;
  const carry = ((x >>> (32 - n)) & 1) !== 0;
  setStatus(m, carryOverflow({ carry, overflow: r < 0 !== carry }) | signZeroParity(r, 32));
  return r;
};
const shr32: Narrow = (m, x, n) => {
  const r = (x >>> n) | 0;
  setStatus(m, carryOverflow({ carry: ((x >>> (n - 1)) & 1) !== 0, overflow: x < 0 }) | signZeroParity(r, 32));
  return r;
};
const sar32: Narrow = (m, x, n) => {
  const r = x >> n;
  setStatus(m, carryOverflow({ carry: ((x >> (n - 1)) & 1) !== 0, overflow: false }) | signZeroParity(r, 32));
  return r;
};

/** 32 bits without bigints: the commonest. */
function shiftWith32(compute: Shift, narrow: Narrow): Translate {
  const general = shift(compute, false);
  return (insn) => {
    if (widthOf(insn) !== 32) return general(insn);
    const place = placeOf(insn, insn.operands[0], 32);
    const count = placeOf(insn, insn.operands[1], 8);
    return (m) => {
      const x = place.readForWrite(m);
      const n = count.read(m) & 31;
      place.writeBack(m, n === 0 ? x : narrow(m, x, n));
    };
  };
}

/** SHLD and SHRD: what is shifted in comes from the second operand. */
function double(left: boolean): Translate {
  return (insn) => {
    const bits = widthOf(insn);
    const place = bigPlaceOf(insn, insn.operands[0], bits);
    const other = bigPlaceOf(insn, insn.operands[1], bits);
    const count = placeOf(insn, insn.operands[2], 8);
    const size = BigInt(bits);
    return (m) => {
      const x = place.readForWrite(m);
      const n = count.read(m) & (bits === 64 ? 63 : 31);
      if (n === 0) return place.writeBack(m, x);
      const y = other.read(m);
      // More than 16 of a word: undefined; here, as processors do, the operands follow one another again.
      const joined = left ? (x << (2n * size)) | (y << size) | x : (x << (2n * size)) | (y << size) | x;
      const by = BigInt(n);
      const r = BigInt.asUintN(bits, left ? joined >> (2n * size - by) : joined >> by);
      const carry = left ? bit(x, bits - n < 0 ? 0 : bits - n) : bit(joined, n - 1);
      place.writeBack(m, r);
      const overflow = topBit(r, bits) !== topBit(x, bits);
      setStatus(m, carryOverflow({ carry, overflow }) | signZeroParityBig(r, bits));
    };
  };
}

export const shifts: Family = {
  Shl: shiftWith32(shl, shl32),
  Sal: shiftWith32(shl, shl32),
  Shr: shiftWith32(shr, shr32),
  Sar: shiftWith32(sar, sar32),
  Rol: shift(rol, true),
  Ror: shift(ror, true),
  Rcl: shift(rcl, true),
  Rcr: shift(rcr, true),
  Shld: double(true),
  Shrd: double(false),
};
