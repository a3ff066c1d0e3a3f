// Arithmetic of the x87 unit, as far as programs need it that are compiled without SSE: exact, with zeros and normal numbers.
// Whatever it would have to invent (NaNs, denormal numbers, unmasked exceptions, an empty or full stack) it says it lacks.
import { CR0_EM, CR0_TS, VECTOR } from '../../cpu/bits.js';
import { GuestFault, Stuck } from '../../cpu/fault.js';
import type { Insn } from '../decode.js';
import type { Machine } from '../machine.js';
import { place64Of, placeOf } from '../places.js';
import { each, type Family, type Translate } from './family.js';
import type { Real, Rounded, Rounding } from './x87-real.js';
import * as real from './x87-real.js';

// Offsets in the FXSAVE image: registers are in the order of the stack, tags in that of their numbers.
const [FCW, FSW, FTW, ST0] = [0, 2, 4, 32];
const REGISTER_BYTES = 16;
const REGISTERS = 8;
const TOP_SHIFT = 11;
const [PRECISION, C1] = [0x20, 0x200];
const EXCEPTION_MASKS = 0x3f;
/** Of the 64 bits of a significand, by the precision control: 0 single, 2 double; 3 is extended. */
const BITS_DROPPED: Readonly<Record<number, number>> = { 0: 40, 1: 40, 2: 11 };
const ROUNDINGS: readonly Rounding[] = ['nearest', 'down', 'up', 'zero'];
const [CF, PF, ZF] = [0x001, 0x004, 0x040];
/** With AF, SF and OF, which comparisons clear. */
const STATUS = 0x8d5;

class Stack {
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  constructor(readonly m: Machine) {
    if ((m.state.cr0 & (CR0_EM | CR0_TS)) !== 0) throw new GuestFault(VECTOR.NM);
    this.#view = m.state.fxView;
    this.#bytes = m.state.fx;
    const control = this.#view.getUint16(FCW, true);
    if ((control & EXCEPTION_MASKS) !== EXCEPTION_MASKS) throw new Stuck('x87 with unmasked exceptions');
    this.rounding = ROUNDINGS[(control >> 10) & 3]!;
    this.precision = (control >> 8) & 3;
  }
  readonly rounding: Rounding;
  readonly precision: number;

  get #top(): number {
    return (this.#view.getUint16(FSW, true) >> TOP_SHIFT) & 7;
  }

  #setTop(top: number): void {
    const status = this.#view.getUint16(FSW, true) & ~(7 << TOP_SHIFT);
    this.#view.setUint16(FSW, status | ((top & 7) << TOP_SHIFT), true);
  }

  #tag(i: number): number {
    return 1 << ((this.#top + i) & 7);
  }

  get(i: number): Real {
    if ((this.#bytes[FTW]! & this.#tag(i)) === 0) throw new Stuck('x87 with an empty register');
    const at = ST0 + REGISTER_BYTES * i;
    return real.fromExtended(this.#view.getBigUint64(at, true), this.#view.getUint16(at + 8, true));
  }

  set(i: number, value: Real): void {
    const [significand, signAndExponent] = real.toExtended(value);
    const at = ST0 + REGISTER_BYTES * i;
    this.#view.setBigUint64(at, significand, true);
    this.#view.setUint16(at + 8, signAndExponent, true);
    this.#bytes[FTW]! |= this.#tag(i);
  }

  push(value: Real): void {
    if ((this.#bytes[FTW]! & this.#tag(7)) !== 0) throw new Stuck('x87 with a full stack');
    this.#bytes.copyWithin(ST0 + REGISTER_BYTES, ST0, ST0 + REGISTER_BYTES * (REGISTERS - 1));
    this.#setTop(this.#top - 1);
    this.set(0, value);
    this.exact();
  }

  pop(): void {
    this.#bytes[FTW]! &= ~this.#tag(0);
    const first = this.#bytes.slice(ST0, ST0 + REGISTER_BYTES);
    this.#bytes.copyWithin(ST0, ST0 + REGISTER_BYTES, ST0 + REGISTER_BYTES * REGISTERS);
    this.#bytes.set(first, ST0 + REGISTER_BYTES * (REGISTERS - 1));
    this.#setTop(this.#top + 1);
  }

  /** C1 is 0 unless a result was rounded up. */
  exact(): void {
    this.#view.setUint16(FSW, this.#view.getUint16(FSW, true) & ~C1, true);
  }

  /** @param up whether the magnitude grew */
  inexact(up: boolean): void {
    const status = this.#view.getUint16(FSW, true) & ~C1;
    this.#view.setUint16(FSW, status | PRECISION | (up ? C1 : 0), true);
  }

  /** The result of an operation. */
  put(i: number, { real: value, inexact }: Rounded, truncated: () => Rounded): void {
    const dropped = BITS_DROPPED[this.precision];
    const fits = dropped === undefined || (!inexact && BigInt.asUintN(dropped, value.significand) === 0n);
    if (!fits) throw new Stuck('x87 with reduced precision');
    this.set(i, value);
    if (inexact) this.inexact(value.significand !== truncated().real.significand);
    else this.exact();
  }
}

const [first, second] = [0, 1];

/** Number of ST(i) among the operands, or of the other one than ST(0). */
const stackIndex = (insn: Insn, which: number): number => {
  const operand = insn.operands[which];
  if (operand?.kind !== 'reg') throw new Stuck('this form of an x87 instruction');
  return operand.number;
};

type Load = (m: Machine) => bigint;

function memoryBits(
  insn: Insn,
  which: number,
): { size: 16 | 32 | 64; load: Load; store(m: Machine, bits: bigint): void } {
  const operand = insn.operands[which];
  if (operand?.kind !== 'memory') throw new Stuck('this form of an x87 instruction');
  const size = operand.size * 8;
  if (size === 64) {
    const place = place64Of(insn, operand);
    return {
      size,
      load(m) {
        place.load(m);
        return (BigInt(m.hi >>> 0) << 32n) | BigInt(m.lo >>> 0);
      },
      store: (m, bits) => place.store(m, Number(bits & 0xffff_ffffn) | 0, Number((bits >> 32n) & 0xffff_ffffn) | 0),
    };
  }
  if (size !== 16 && size !== 32) throw new Stuck(`x87 with an operand of ${size} bits`);
  const place = placeOf(insn, operand, size);
  return {
    size,
    load: (m) => BigInt.asUintN(size, BigInt(place.read(m))),
    store: (m, bits) => place.write(m, Number(BigInt.asIntN(32, bits))),
  };
}

const loadInteger: Translate = (insn) => {
  const { size, load } = memoryBits(insn, first);
  return (m) => new Stack(m).push(real.fromInteger(BigInt.asIntN(size, load(m))));
};

const loadReal: Translate = (insn) => {
  const operand = insn.operands[first];
  if (operand?.kind === 'reg') {
    // With one operand or two: the source is the last.
    const index = stackIndex(insn, insn.operands.length - 1);
    return (m) => {
      const stack = new Stack(m);
      stack.push(stack.get(index));
    };
  }
  const { size, load } = memoryBits(insn, first);
  if (size === 16) throw new Stuck('this form of an x87 instruction');
  return (m) => new Stack(m).push(real.fromBits(load(m), size));
};

const loadConstant =
  (value: bigint): Translate =>
  () =>
  (m) =>
    new Stack(m).push(real.fromInteger(value));

const storeReal =
  (pops: boolean): Translate =>
  (insn) => {
    if (insn.operands[first]?.kind === 'reg') {
      const index = stackIndex(insn, first);
      return (m) => {
        const stack = new Stack(m);
        stack.set(index, stack.get(0));
        stack.exact();
        if (pops) stack.pop();
      };
    }
    const { size, store } = memoryBits(insn, first);
    if (size === 16) throw new Stuck('this form of an x87 instruction');
    return (m) => {
      const stack = new Stack(m);
      const value = stack.get(0);
      const { bits, inexact } = real.toBits(value, size, stack.rounding);
      store(m, bits);
      if (inexact) stack.inexact(bits !== real.toBits(value, size, 'zero').bits);
      else stack.exact();
      if (pops) stack.pop();
    };
  };

const storeInteger =
  (pops: boolean, truncates = false): Translate =>
  (insn) => {
    const { size, store } = memoryBits(insn, first);
    return (m) => {
      const stack = new Stack(m);
      const value = stack.get(0);
      const result = real.toInteger(value, size, truncates ? 'zero' : stack.rounding);
      if (result === undefined) throw new Stuck('x87 with an integer that overflows');
      store(m, BigInt.asUintN(64, result.value));
      if (result.inexact) stack.inexact(result.value !== real.toInteger(value, size, 'zero')?.value);
      else stack.exact();
      if (pops) stack.pop();
    };
  };

const exchange: Translate = (insn) => {
  const index = stackIndex(insn, insn.operands.length - 1);
  return (m) => {
    const stack = new Stack(m);
    const [a, b] = [stack.get(0), stack.get(index)];
    stack.set(0, b);
    stack.set(index, a);
    stack.exact();
  };
};

/** FCOMI: the flags of an unsigned comparison. */
const compareToFlags =
  (pops: boolean): Translate =>
  (insn) => {
    const index = stackIndex(insn, insn.operands.length - 1);
    return (m) => {
      const stack = new Stack(m);
      const order = real.compare(stack.get(0), stack.get(index));
      m.state.flags = (m.state.flags & ~STATUS) | (order < 0 ? CF : order === 0 ? ZF : 0);
      stack.exact();
      if (pops) stack.pop();
    };
  };

const CONDITIONS: Readonly<Record<string, (flags: number) => boolean>> = {
  b: (flags) => (flags & CF) !== 0,
  e: (flags) => (flags & ZF) !== 0,
  be: (flags) => (flags & (CF | ZF)) !== 0,
  u: (flags) => (flags & PF) !== 0,
};

const moveIf =
  (condition: (flags: number) => boolean): Translate =>
  (insn) => {
    const index = stackIndex(insn, insn.operands.length - 1);
    return (m) => {
      const stack = new Stack(m);
      stack.get(0);
      const value = stack.get(index);
      if (condition(m.state.flags)) stack.set(0, value);
      stack.exact();
    };
  };

type Operation = (a: Real, b: Real, rounding: Rounding) => Rounded;
const OPERATIONS: Readonly<Record<string, Operation>> = {
  add: real.sum,
  sub: (a, b, rounding) => real.sum(a, real.negated(b), rounding),
  subr: (a, b, rounding) => real.sum(b, real.negated(a), rounding),
  mul: real.product,
  div: real.quotient,
  divr: (a, b, rounding) => real.quotient(b, a, rounding),
};

/** ST(0) with memory, or one register with another; the first operand is the destination. */
const operate =
  (operation: Operation, kind: 'real' | 'integer', pops: boolean): Translate =>
  (insn) => {
    if (insn.operands[first]?.kind === 'memory') {
      const { size, load } = memoryBits(insn, first);
      return (m) => {
        const stack = new Stack(m);
        const bits = load(m);
        const b =
          kind === 'integer' ? real.fromInteger(BigInt.asIntN(size, bits)) : real.fromBits(bits, size as 32 | 64);
        const a = stack.get(0);
        stack.put(0, operation(a, b, stack.rounding), () => operation(a, b, 'zero'));
      };
    }
    const [to, from] = [stackIndex(insn, first), stackIndex(insn, second)];
    return (m) => {
      const stack = new Stack(m);
      const [a, b] = [stack.get(to), stack.get(from)];
      stack.put(to, operation(a, b, stack.rounding), () => operation(a, b, 'zero'));
      if (pops) stack.pop();
    };
  };

const changeSign =
  (change: (value: Real) => Real): Translate =>
  () =>
  (m) => {
    const stack = new Stack(m);
    stack.set(0, change(stack.get(0)));
    stack.exact();
  };

const arithmetic = Object.entries(OPERATIONS).map(
  ([name, operation]): Family => ({
    [`F${name}`]: operate(operation, 'real', false),
    [`F${name}p`]: operate(operation, 'real', true),
    [`Fi${name}`]: operate(operation, 'integer', false),
  }),
);

export const x87: Family = Object.assign(
  {
    Fild: loadInteger,
    Fld: loadReal,
    Fldz: loadConstant(0n),
    Fld1: loadConstant(1n),
    Fst: storeReal(false),
    Fstp: storeReal(true),
    Fist: storeInteger(false),
    Fistp: storeInteger(true),
    Fisttp: storeInteger(true, true),
    Fxch: exchange,
    Fcomi: compareToFlags(false),
    Fucomi: compareToFlags(false),
    Fcomip: compareToFlags(true),
    Fucomip: compareToFlags(true),
    Fchs: changeSign(real.negated),
    Fabs: changeSign((value) => ({ ...value, negative: false })),
    ...each(
      Object.keys(CONDITIONS).map((name) => `Fcmov${name}`),
      (name) => moveIf(CONDITIONS[name.slice(5)]!),
    ),
    ...each(
      Object.keys(CONDITIONS).map((name) => `Fcmovn${name}`),
      (name) => {
        const condition = CONDITIONS[name.slice(6)]!;
        return moveIf((flags) => !condition(flags));
      },
    ),
  },
  ...arithmetic,
);
