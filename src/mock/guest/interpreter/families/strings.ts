// MOVS CMPS STOS LODS SCAS with REP, REPE and REPNE. After each element the registers say how far it came.
import { DF, RCX, RDI, RSI, ZF } from '../../cpu/bits.js';
import { Stuck } from '../../cpu/fault.js';
import type { Insn, Operand } from '../decode.js';
import type { Machine } from '../machine.js';
import { segmented } from '../places.js';
import { compare, compare64 } from './arithmetic.js';
import type { Family, Translate } from './family.js';

/** Elements that count as one instruction, so that a long repetition lets others run; it goes on when it is executed again. */
const ELEMENTS_AT_ONCE = 64;

type StringOperand = Extract<Operand, { kind: 'string' }>;

interface StringOp {
  size: number;
  source: StringOperand | undefined;
  target: StringOperand | undefined;
}

function pointer(m: Machine, n: number, addressBits: number): number {
  const { state } = m;
  return addressBits === 64 ? state.signedGpr(n) : (state.r32[2 * n] as number) >>> 0;
}

function setPointer(m: Machine, n: number, addressBits: number, value: number): void {
  if (addressBits === 64) {
    m.state.setSignedGpr(n, value);
  } else {
    m.state.r32[2 * n] = value | 0;
    m.state.r32[2 * n + 1] = 0;
  }
}

function advance(m: Machine, operand: StringOperand | undefined, size: number): void {
  if (operand === undefined) return;
  const n = operand.source ? RSI : RDI;
  const step = (m.state.flags & DF) !== 0 ? -size : size;
  setPointer(m, n, operand.addressBits, pointer(m, n, operand.addressBits) + step);
}

function at(m: Machine, operand: StringOperand, size: number, write: boolean): number {
  const offset = pointer(m, operand.source ? RSI : RDI, operand.addressBits);
  return segmented(m, operand.segment, offset, size, write);
}

/** An element into `m.lo`, `m.hi`. */
function load(m: Machine, linear: number, size: number): void {
  if (size === 8) m.read64(linear);
  else m.lo = size === 4 ? m.read32(linear) : size === 2 ? m.read16(linear) : m.read8(linear);
}

function store(m: Machine, linear: number, size: number, lo: number, hi: number): void {
  if (size === 8) m.write64(linear, lo, hi);
  else if (size === 4) m.write32(linear, lo);
  else if (size === 2) m.write16(linear, lo);
  else m.write8(linear, lo);
}

function accumulator(m: Machine, size: number): void {
  const { r8, r16, r32 } = m.state;
  m.lo = size === 1 ? (r8[0] as number) : size === 2 ? (r16[0] as number) : (r32[0] as number);
  m.hi = r32[1] as number;
}

function setAccumulator(m: Machine, size: number): void {
  const { r8, r16, r32 } = m.state;
  if (size === 1) r8[0] = m.lo;
  else if (size === 2) r16[0] = m.lo;
  else {
    r32[0] = m.lo;
    r32[1] = size === 8 ? m.hi : 0;
  }
}

function compareElements(m: Machine, size: number, lo: number, hi: number): void {
  if (size === 8) compare64(m, lo, hi, m.lo, m.hi);
  else compare(m, lo, m.lo, size * 8);
}

const ACTIONS: Readonly<Record<string, (m: Machine, op: Required<StringOp>) => void>> = {
  Movs: (m, { size, source, target }) => {
    load(m, at(m, source as StringOperand, size, false), size);
    store(m, at(m, target as StringOperand, size, true), size, m.lo, m.hi);
  },
  Stos: (m, { size, target }) => {
    accumulator(m, size);
    store(m, at(m, target as StringOperand, size, true), size, m.lo, m.hi);
  },
  Lods: (m, { size, source }) => {
    load(m, at(m, source as StringOperand, size, false), size);
    setAccumulator(m, size);
  },
  Scas: (m, { size, target }) => {
    const linear = at(m, target as StringOperand, size, false);
    accumulator(m, size);
    const { lo, hi } = m;
    load(m, linear, size);
    compareElements(m, size, lo, hi);
  },
  Cmps: (m, { size, source, target }) => {
    load(m, at(m, source as StringOperand, size, false), size);
    const { lo, hi } = m;
    load(m, at(m, target as StringOperand, size, false), size);
    compareElements(m, size, lo, hi);
  },
};

function counter(m: Machine, bits: number): number {
  return bits === 64 ? m.state.signedGpr(RCX) : (m.state.r32[2 * RCX] as number) >>> 0;
}

function countDown(m: Machine, bits: number): void {
  if (bits === 64) m.state.gprs[RCX] = (m.state.gprs[RCX] as bigint) - 1n;
  else setPointer(m, RCX, 32, counter(m, bits) - 1);
}

function stringOp(insn: Insn, size: number): StringOp {
  const strings = insn.operands.filter((operand) => operand.kind === 'string');
  return { size, source: strings.find(({ source }) => source), target: strings.find(({ source }) => !source) };
}

/** One string instruction: `Movs`, `Cmps`, `Stos`, `Lods` or `Scas` of `size` bytes. */
export function string(action: string, size: number): Translate {
  const act = ACTIONS[action] as (m: Machine, op: StringOp) => void;
  const compares = action === 'Scas' || action === 'Cmps';
  return (insn) => {
    const op = stringOp(insn, size);
    const bits = (op.source ?? op.target)?.addressBits ?? 0;
    if (bits < 32) throw new Stuck('16-bit addressing');
    const step = (m: Machine): void => {
      act(m, op);
      advance(m, op.source, size);
      advance(m, op.target, size);
    };
    if (!insn.rep && !insn.repne) return step;
    const goOn = insn.repne ? 0 : ZF;
    return (m) => {
      const again = m.next - insn.length;
      const { flags } = m.state;
      try {
        for (let done = 0; counter(m, bits) !== 0; done++) {
          if (done === ELEMENTS_AT_ONCE) {
            m.next = again;
            return;
          }
          step(m);
          countDown(m, bits);
          if (compares && (m.state.flags & ZF) !== goOn) return;
        }
      } catch (error) {
        m.state.flags = flags; // SDM volume 2, REP: a fault finds the flags as they were before the instruction
        throw error;
      }
    };
  };
}

const SIZES = { b: 1, w: 2, d: 4, q: 8 } as const;

/** MOVSD and CMPSD share their names with SSE instructions: see there. */
export const strings: Family = Object.fromEntries(
  Object.keys(ACTIONS)
    .flatMap((action) =>
      Object.entries(SIZES).map(([suffix, size]) => [`${action}${suffix}`, string(action, size)] as const),
    )
    .filter(([name]) => name !== 'Movsd' && name !== 'Cmpsd'),
);
