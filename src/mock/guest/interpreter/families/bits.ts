// Bit tests, scans, counts, and the bit manipulation extensions.
import { AF, CF, OF, PF, SF, STATUS_FLAGS, ZF } from '../../cpu/bits.js';
import { bigPlaceOf } from '../big.js';
import { setSome, setStatus } from '../flags.js';
import type { Machine } from '../machine.js';
import { addressOf, placeOf } from '../places.js';
import { widthOf } from './arithmetic.js';
import type { Family, Translate } from './family.js';

const test = (x: bigint, at: bigint): boolean => ((x >> at) & 1n) !== 0n;
const setCarry = (m: Machine, carry: boolean): void => setSome(m, CF, carry ? CF : 0);

/** BT, BTS, BTR, BTC: what becomes of the bit. */
type Change = (x: bigint, mask: bigint) => bigint;

/** A bit of memory whose number is in a register may lie anywhere: the number selects the word too. */
function bitTest(change: Change | undefined): Translate {
  return (insn) => {
    const bits = widthOf(insn);
    const [base, index] = insn.operands;
    const number = bigPlaceOf(insn, index, bits);
    const mask = BigInt(bits - 1);
    if (base?.kind !== 'memory' || index?.kind === 'immediate') {
      const place = bigPlaceOf(insn, base, bits);
      return (m) => {
        const x = change === undefined ? place.read(m) : place.readForWrite(m);
        const at = number.read(m) & mask;
        if (change !== undefined) place.writeBack(m, BigInt.asUintN(bits, change(x, 1n << at)));
        setCarry(m, test(x, at));
      };
    }
    const address = addressOf(insn, base, bits / 8);
    return (m) => {
      const offset = BigInt.asIntN(bits, number.read(m));
      const linear = address(m, change !== undefined) + Number(offset >> 3n) - (Number(offset >> 3n) & (bits / 8 - 1));
      if (change !== undefined) m.probeWrite(linear, bits / 8);
      const x = readAt(m, linear, bits);
      if (change !== undefined) writeAt(m, linear, bits, change(x, 1n << (offset & mask)));
      setCarry(m, test(x, offset & mask));
    };
  };
}

function readAt(m: Machine, linear: number, bits: number): bigint {
  const bytes = m.readBytes(linear, bits / 8);
  return bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
}

function writeAt(m: Machine, linear: number, bits: number, value: bigint): void {
  m.writeBytes(
    linear,
    Uint8Array.from({ length: bits / 8 }, (_, n) => Number((value >> BigInt(8 * n)) & 0xffn)),
  );
}

const trailing = (x: bigint): number => {
  let n = 0;
  for (let rest = x; (rest & 1n) === 0n; rest >>= 1n) n++;
  return n;
};
const significant = (x: bigint): number => x.toString(2).length;
const ones = (x: bigint): number => x.toString(2).replaceAll('0', '').length;

/** BSF, BSR: without a set bit the destination stays. */
function scan(find: (x: bigint) => number): Translate {
  return (insn) => {
    const bits = widthOf(insn);
    const to = bigPlaceOf(insn, insn.operands[0], bits);
    const from = bigPlaceOf(insn, insn.operands[1], bits);
    return (m) => {
      const x = from.read(m);
      setSome(m, ZF, x === 0n ? ZF : 0);
      if (x !== 0n) to.write(m, BigInt(find(x)));
    };
  };
}

function count(find: (x: bigint, bits: number) => number, flags: (x: bigint, r: number) => number): Translate {
  return (insn) => {
    const bits = widthOf(insn);
    const to = bigPlaceOf(insn, insn.operands[0], bits);
    const from = bigPlaceOf(insn, insn.operands[1], bits);
    return (m) => {
      const x = from.read(m);
      const r = find(x, bits);
      to.write(m, BigInt(r));
      setStatus(m, flags(x, r));
    };
  };
}
const zeroCount = (x: bigint, r: number): number => (x === 0n ? CF : 0) | (r === 0 ? ZF : 0);

const signZero = (r: bigint, bits: number): number => (r === 0n ? ZF : 0) | (test(r, BigInt(bits - 1)) ? SF : 0);

interface Computed {
  r: bigint;
  /** CF; left alone with the other flags where undefined. */
  carry?: boolean;
  flags: boolean;
}

/** Destination, then sources. @param order of the operands that `compute` is given. */
function extended(compute: (a: bigint, b: bigint, bits: number) => Computed): Translate {
  return (insn) => {
    const bits = widthOf(insn);
    const to = bigPlaceOf(insn, insn.operands[0], bits);
    const a = bigPlaceOf(insn, insn.operands[1], bits);
    const b = insn.operands[2] === undefined ? undefined : bigPlaceOf(insn, insn.operands[2], bits);
    return (m) => {
      const { r, carry, flags } = compute(a.read(m), b?.read(m) ?? 0n, bits);
      to.write(m, r);
      const kept = m.state.flags & (AF | PF);
      if (flags) setSome(m, STATUS_FLAGS & ~(AF | PF) & ~OF, kept | signZero(r, bits) | (carry ? CF : 0));
      if (flags) setSome(m, OF, 0);
    };
  };
}

const cutTo = (value: bigint, bits: number): bigint => BigInt.asUintN(bits, value);
const flagged = (r: bigint, carry = false): Computed => ({ r, carry, flags: true });
const plain = (r: bigint): Computed => ({ r, flags: false });

function bextr(x: bigint, control: bigint): Computed {
  const start = control & 0xffn;
  const length = (control >> 8n) & 0xffn;
  return flagged((x >> start) & ((1n << length) - 1n));
}

function bzhi(x: bigint, control: bigint, bits: number): Computed {
  const n = control & 0xffn;
  const beyond = n >= BigInt(bits);
  return flagged(beyond ? x : x & ((1n << n) - 1n), beyond);
}

function deposit(x: bigint, mask: bigint): Computed {
  let r = 0n;
  let from = 0n;
  for (let at = 0n; mask >> at !== 0n; at++) {
    if (!test(mask, at)) continue;
    if (test(x, from)) r |= 1n << at;
    from++;
  }
  return plain(r);
}

function extract(x: bigint, mask: bigint): Computed {
  let r = 0n;
  let to = 0n;
  for (let at = 0n; mask >> at !== 0n; at++) {
    if (!test(mask, at)) continue;
    if (test(x, at)) r |= 1n << to;
    to++;
  }
  return plain(r);
}

const shiftCount = (n: bigint, bits: number): bigint => n & BigInt(bits - 1);

/** RORX's count is an immediate of 8 bits. */
const rorx: Translate = (insn) => {
  const bits = widthOf(insn);
  const to = bigPlaceOf(insn, insn.operands[0], bits);
  const from = bigPlaceOf(insn, insn.operands[1], bits);
  const amount = placeOf(insn, insn.operands[2], 8);
  return (m) => {
    const by = BigInt(amount.read(m) & (bits - 1));
    const x = from.read(m);
    to.write(m, cutTo((x >> by) | (x << (BigInt(bits) - by)), bits));
  };
};

export const bitOperations: Family = {
  Bt: bitTest(undefined),
  Bts: bitTest((x, mask) => x | mask),
  Btr: bitTest((x, mask) => x & ~mask),
  Btc: bitTest((x, mask) => x ^ mask),
  Bsf: scan(trailing),
  Bsr: scan((x) => significant(x) - 1),
  Tzcnt: count((x, bits) => (x === 0n ? bits : trailing(x)), zeroCount),
  Lzcnt: count((x, bits) => (x === 0n ? bits : bits - significant(x)), zeroCount),
  Popcnt: count(
    (x) => ones(x),
    (x) => (x === 0n ? ZF : 0),
  ),
  Andn: extended((a, b, bits) => flagged(cutTo(~a, bits) & b)),
  Blsi: extended((a, _, bits) => flagged(cutTo(-a, bits) & a, a !== 0n)),
  Blsr: extended((a, _, bits) => flagged(cutTo(a - 1n, bits) & a, a === 0n)),
  Blsmsk: extended((a, _, bits) => flagged(cutTo(a - 1n, bits) ^ a, a === 0n)),
  Bextr: extended(bextr),
  Bzhi: extended(bzhi),
  Pdep: extended(deposit),
  Pext: extended(extract),
  Shlx: extended((a, n, bits) => plain(cutTo(a << shiftCount(n, bits), bits))),
  Shrx: extended((a, n, bits) => plain(a >> shiftCount(n, bits))),
  Sarx: extended((a, n, bits) => plain(cutTo(BigInt.asIntN(bits, a) >> shiftCount(n, bits), bits))),
  Rorx: rorx,
};
