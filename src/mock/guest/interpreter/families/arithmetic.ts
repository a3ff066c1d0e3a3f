// ADD ADC SUB SBB CMP AND OR XOR TEST INC DEC NEG NOT XADD CMPXCHG ADCX ADOX.
import { AF, CF, OF, STATUS_FLAGS, ZF } from '../../cpu/bits.js';
import { Stuck } from '../../cpu/fault.js';
import type { Exec } from '../code-cache.js';
import type { Insn } from '../decode.js';
import { addFlags, setSome, setStatus, signZeroParity, signZeroParity64, subFlags } from '../flags.js';
import type { Machine } from '../machine.js';
import { bitsOf, gprPlace, gprPlace64, place64Of, placeOf } from '../places.js';
import type { Family, Translate } from './family.js';

/** Computes and sets flags; 8, 16 or 32 bits. */
type Narrow = (m: Machine, a: number, b: number, bits: number) => number;
/** `m.lo`, `m.hi` and the second operand, into `m.lo`, `m.hi`. */
type Wide = (m: Machine, alo: number, ahi: number, blo: number, bhi: number) => void;

interface Operation {
  narrow: Narrow;
  wide: Wide;
}

/** A result cut to its width, as places have it. */
export const cut = (value: number, bits: number): number => (bits === 32 ? value | 0 : value & ((1 << bits) - 1));
/** As an unsigned number. */
export const plain = (value: number): number => value >>> 0;
const SPAN: Readonly<Record<number, number>> = { 8: 0x100, 16: 0x1_0000, 32: 0x1_0000_0000 };

function addWith(m: Machine, a: number, b: number, carry: number, bits: number): number {
  const sum = plain(a) + plain(b) + carry;
  const r = cut(sum, bits);
  setStatus(m, addFlags(a, b, r, sum >= (SPAN[bits] as number), bits));
  return r;
}

function subWith(m: Machine, a: number, b: number, borrow: number, bits: number): number {
  const difference = plain(a) - plain(b) - borrow;
  const r = cut(difference, bits);
  setStatus(m, subFlags(a, b, r, difference < 0, bits));
  return r;
}

function addWith64(m: Machine, alo: number, ahi: number, blo: number, bhi: number, carry: number): void {
  const low = plain(alo) + plain(blo) + carry;
  const high = plain(ahi) + plain(bhi) + (low > 0xffff_ffff ? 1 : 0);
  m.lo = low | 0;
  m.hi = high | 0;
  const overflow = ((ahi ^ m.hi) & (bhi ^ m.hi)) < 0;
  const flags = (high > 0xffff_ffff ? CF : 0) | (overflow ? OF : 0) | ((alo ^ blo ^ m.lo) & AF);
  setStatus(m, flags | signZeroParity64(m.lo, m.hi));
}

function subWith64(m: Machine, alo: number, ahi: number, blo: number, bhi: number, borrow: number): void {
  const low = plain(alo) - plain(blo) - borrow;
  const high = plain(ahi) - plain(bhi) - (low < 0 ? 1 : 0);
  m.lo = low | 0;
  m.hi = high | 0;
  const overflow = ((ahi ^ bhi) & (ahi ^ m.hi)) < 0;
  const flags = (high < 0 ? CF : 0) | (overflow ? OF : 0) | ((alo ^ blo ^ m.lo) & AF);
  setStatus(m, flags | signZeroParity64(m.lo, m.hi));
}

/** AND, OR, XOR: CF and OF are cleared, and AF as processors do it, though it is undefined. */
function logic(combine: (a: number, b: number) => number): Operation {
  return {
    narrow(m, a, b, bits) {
      const r = cut(combine(a, b), bits);
      setStatus(m, signZeroParity(r, bits));
      return r;
    },
    wide(m, alo, ahi, blo, bhi) {
      m.lo = combine(alo, blo) | 0;
      m.hi = combine(ahi, bhi) | 0;
      setStatus(m, signZeroParity64(m.lo, m.hi));
    },
  };
}

const carryOf = (m: Machine): number => m.state.flags & CF;

const ADD: Operation = {
  narrow: (m, a, b, bits) => addWith(m, a, b, 0, bits),
  wide: (m, alo, ahi, blo, bhi) => addWith64(m, alo, ahi, blo, bhi, 0),
};
const ADC: Operation = {
  narrow: (m, a, b, bits) => addWith(m, a, b, carryOf(m), bits),
  wide: (m, alo, ahi, blo, bhi) => addWith64(m, alo, ahi, blo, bhi, carryOf(m)),
};
const SUB: Operation = {
  narrow: (m, a, b, bits) => subWith(m, a, b, 0, bits),
  wide: (m, alo, ahi, blo, bhi) => subWith64(m, alo, ahi, blo, bhi, 0),
};
const SBB: Operation = {
  narrow: (m, a, b, bits) => subWith(m, a, b, carryOf(m), bits),
  wide: (m, alo, ahi, blo, bhi) => subWith64(m, alo, ahi, blo, bhi, carryOf(m)),
};
const AND = logic((a, b) => a & b);
const OR = logic((a, b) => a | b);
const XOR = logic((a, b) => a ^ b);

/** For comparisons by other instructions. */
export const compare: Narrow = SUB.narrow;
export const compare64: Wide = SUB.wide;

export function widthOf(insn: Insn): number {
  const bits = bitsOf(insn.operands[0]) ?? bitsOf(insn.operands[1]);
  if (bits === undefined) throw new Stuck('operands of this size');
  return bits;
}

/** Two operands, the first of them the result; `keep` computes flags only. */
function binary({ narrow, wide }: Operation, keep = false): Translate {
  return (insn) => {
    const bits = widthOf(insn);
    const [first, second] = insn.operands;
    if (bits === 64) {
      const a = place64Of(insn, first);
      const b = place64Of(insn, second);
      return (m) => {
        if (keep) a.load(m);
        else a.loadForWrite(m);
        const { lo, hi } = m;
        b.load(m);
        wide(m, lo, hi, m.lo, m.hi);
        if (!keep) a.storeBack(m, m.lo, m.hi);
      };
    }
    const a = placeOf(insn, first, bits);
    const b = placeOf(insn, second, bits);
    if (keep) {
      return (m) => {
        narrow(m, a.read(m), b.read(m), bits);
      };
    }
    return (m) => a.writeBack(m, narrow(m, a.readForWrite(m), b.read(m), bits));
  };
}

/** One operand: `a` of the operation is given, or the operand; flags in `keptFlags` stay. */
function unary({ narrow, wide }: Operation, order: 'x,1' | '0,x', keptFlags: number): Translate {
  return (insn) => {
    const bits = widthOf(insn);
    const keep = (m: Machine, flags: number): void => setSome(m, keptFlags, flags);
    if (bits === 64) {
      const place = place64Of(insn, insn.operands[0]);
      return (m) => {
        place.loadForWrite(m);
        const { flags } = m.state;
        if (order === '0,x') wide(m, 0, 0, m.lo, m.hi);
        else wide(m, m.lo, m.hi, 1, 0);
        keep(m, flags);
        place.storeBack(m, m.lo, m.hi);
      };
    }
    const place = placeOf(insn, insn.operands[0], bits);
    return (m) => {
      const x = place.readForWrite(m);
      const { flags } = m.state;
      const r = order === '0,x' ? narrow(m, 0, x, bits) : narrow(m, x, 1, bits);
      keep(m, flags);
      place.writeBack(m, r);
    };
  };
}

const not: Translate = (insn) => {
  const bits = widthOf(insn);
  if (bits === 64) {
    const place = place64Of(insn, insn.operands[0]);
    return (m) => {
      place.loadForWrite(m);
      place.storeBack(m, ~m.lo, ~m.hi);
    };
  }
  const place = placeOf(insn, insn.operands[0], bits);
  return (m) => place.writeBack(m, cut(~place.readForWrite(m), bits));
};

const xadd: Translate = (insn) => {
  const bits = widthOf(insn);
  const [first, second] = insn.operands;
  if (bits === 64) {
    const a = place64Of(insn, first);
    const b = place64Of(insn, second);
    return (m) => {
      a.loadForWrite(m);
      const { lo, hi } = m;
      b.load(m);
      ADD.wide(m, lo, hi, m.lo, m.hi);
      const sum = [m.lo, m.hi] as const;
      b.store(m, lo, hi);
      a.storeBack(m, ...sum);
    };
  }
  const a = placeOf(insn, first, bits);
  const b = placeOf(insn, second, bits);
  return (m) => {
    const old = a.readForWrite(m);
    const sum = ADD.narrow(m, old, b.read(m), bits);
    b.write(m, old);
    a.writeBack(m, sum);
  };
};

/** The destination is written in either case: where the comparison fails, with what it held. */
const cmpxchg: Translate = (insn) => {
  const bits = widthOf(insn);
  const [first, second] = insn.operands;
  if (bits === 64) {
    const a = place64Of(insn, first);
    const b = place64Of(insn, second);
    const rax = gprPlace64(0);
    return (m) => {
      a.loadForWrite(m);
      const { lo, hi } = m;
      rax.load(m);
      SUB.wide(m, m.lo, m.hi, lo, hi);
      if ((m.state.flags & ZF) !== 0) {
        b.load(m);
        a.storeBack(m, m.lo, m.hi);
      } else {
        a.storeBack(m, lo, hi);
        rax.store(m, lo, hi);
      }
    };
  }
  const a = placeOf(insn, first, bits);
  const b = placeOf(insn, second, bits);
  const rax = gprPlace(0, bits);
  return (m) => {
    const old = a.readForWrite(m);
    SUB.narrow(m, rax.read(m), old, bits);
    if ((m.state.flags & ZF) !== 0) {
      a.writeBack(m, b.read(m));
    } else {
      // A register destination keeps its upper half then; memory gets its old value.
      if (first?.kind === 'memory') a.writeBack(m, old);
      rax.write(m, old);
    }
  };
};

/** ADCX, ADOX: add with one flag as carry, the others untouched. */
function addThrough(flag: number): Translate {
  return (insn) => {
    const bits = widthOf(insn);
    const [first, second] = insn.operands;
    const finish = (m: Machine, before: number): void => {
      const carry = (m.state.flags & CF) !== 0 ? flag : 0;
      setSome(m, STATUS_FLAGS, (before & ~flag) | carry);
    };
    const exec64 = (): Exec => {
      const a = place64Of(insn, first);
      const b = place64Of(insn, second);
      return (m) => {
        const before = m.state.flags;
        a.load(m);
        const { lo, hi } = m;
        b.load(m);
        addWith64(m, lo, hi, m.lo, m.hi, (before & flag) !== 0 ? 1 : 0);
        a.store(m, m.lo, m.hi);
        finish(m, before);
      };
    };
    if (bits === 64) return exec64();
    const a = placeOf(insn, first, 32);
    const b = placeOf(insn, second, 32);
    return (m) => {
      const before = m.state.flags;
      a.write(m, addWith(m, a.read(m), b.read(m), (before & flag) !== 0 ? 1 : 0, 32));
      finish(m, before);
    };
  };
}

export const arithmetic: Family = {
  Add: binary(ADD),
  Adc: binary(ADC),
  Sub: binary(SUB),
  Sbb: binary(SBB),
  And: binary(AND),
  Or: binary(OR),
  Xor: binary(XOR),
  Cmp: binary(SUB, true),
  Test: binary(AND, true),
  Inc: unary(ADD, 'x,1', CF),
  Dec: unary(SUB, 'x,1', CF),
  Neg: unary(SUB, '0,x', 0),
  Not: not,
  Xadd: xadd,
  Cmpxchg: cmpxchg,
  Adcx: addThrough(CF),
  Adox: addThrough(OF),
};
