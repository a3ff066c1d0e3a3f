// PUSH POP PUSHA POPA PUSHF POPF ENTER LEAVE.
import { AC, AF, CF, DF, ID, IF, IOPL, NT, OF, PF, RBP, RSP, SF, TF, VECTOR, ZF } from '../../cpu/bits.js';
import { GuestFault, Stuck } from '../../cpu/fault.js';
import { isCanonical } from '../../cpu/paging.js';
import { type Operand, SEGMENTS } from '../decode.js';
import type { Machine } from '../machine.js';
import { gprPlace, gprPlace64, place64Of, placeOf, segmented } from '../places.js';
import type { Family, Translate } from './family.js';
import { loadSegment } from './segments.js';

/** Linear address of `size` bytes at a stack pointer. */
function stackAddress(m: Machine, pointer: number, size: number, write: boolean): number {
  if (!m.state.in64) return segmented(m, 'ss', pointer >>> 0, size, write);
  if (!isCanonical(pointer)) throw new GuestFault(VECTOR.SS, 0);
  return pointer;
}

/** @param size 2, 4 or 8 bytes. @param hi of 8 bytes. */
export function push(m: Machine, size: number, lo: number, hi: number): void {
  const pointer = m.state.stackPointer - size;
  const linear = stackAddress(m, pointer, size, true);
  if (size === 8) m.write64(linear, lo, hi);
  else if (size === 4) m.write32(linear, lo);
  else m.write16(linear, lo);
  m.state.stackPointer = pointer;
}

/** What lies at the top of the stack, `offset` bytes from it, into `m.lo`, `m.hi`. */
export function peek(m: Machine, size: number, offset = 0): void {
  const linear = stackAddress(m, m.state.stackPointer + offset, size, false);
  if (size === 8) {
    m.read64(linear);
  } else {
    m.lo = size === 4 ? m.read32(linear) : m.read16(linear);
    m.hi = 0;
  }
}

export function release(m: Machine, bytes: number): void {
  m.state.stackPointer += bytes;
}

const isSegment = (operand: Operand | undefined): operand is Extract<Operand, { kind: 'reg' }> =>
  operand?.kind === 'reg' && operand.file === 'segment';

const pushOperand: Translate = (insn) => {
  const size = -insn.stack;
  const [operand] = insn.operands;
  if (isSegment(operand)) {
    const name = SEGMENTS[operand.number] as (typeof SEGMENTS)[number];
    return (m) => push(m, size, m.state[name].selector, 0);
  }
  if (size === 8) {
    const place = place64Of(insn, operand);
    return (m) => {
      place.load(m);
      push(m, 8, m.lo, m.hi);
    };
  }
  const place = placeOf(insn, operand, size * 8);
  return (m) => push(m, size, place.read(m), 0);
};

const popOperand: Translate = (insn) => {
  const size = insn.stack;
  const [operand] = insn.operands;
  if (isSegment(operand)) {
    return (m) => {
      peek(m, size);
      loadSegment(m, operand.number, m.lo & 0xffff);
      release(m, size);
    };
  }
  const place64 = size === 8 ? place64Of(insn, operand) : undefined;
  const place = size === 8 ? undefined : placeOf(insn, operand, size * 8);
  return (m) => {
    peek(m, size);
    const { lo, hi } = m;
    const before = m.state.gprs[RSP] as bigint;
    // An address that uses the stack pointer sees it popped; a fault there leaves it as it was.
    release(m, size);
    try {
      if (place64 !== undefined) place64.store(m, lo, hi);
      else place?.write(m, lo);
    } catch (error) {
      m.state.gprs[RSP] = before;
      throw error;
    }
  };
};

/** Bits that POPF and IRET may change at a privilege level. */
export function changeableFlags(cpl: number, flags: number, size: number): number {
  let mask = CF | PF | AF | ZF | SF | TF | DF | OF | NT;
  if (size > 2) mask |= AC | ID;
  if (cpl === 0) mask |= IOPL;
  if (cpl <= (flags & IOPL) >> 12) mask |= IF;
  return mask;
}

/** Sets RFLAGS from a program's value. @throws Stuck where it wants to be single-stepped. */
export function setFlags(m: Machine, value: number, mask: number): void {
  const { state } = m;
  const before = state.flags;
  const after = ((before & ~mask) | (value & mask) | 2) >>> 0;
  if ((after & TF) !== 0) throw new Stuck('single-stepping (RFLAGS.TF)');
  state.flags = after;
  if (((before ^ after) & AC) !== 0) m.flush();
}

const pushFlags: Translate = (insn) => (m) => push(m, -insn.stack, m.state.flags & 0xfc_ffff, 0);

const popFlags: Translate = (insn) => (m) => {
  const { state } = m;
  peek(m, insn.stack);
  setFlags(m, m.lo, changeableFlags(state.cpl, state.flags, insn.stack));
  state.flags &= ~0x1_0000; // RF
  release(m, insn.stack);
};

const pushAll: Translate = (insn) => (m) => {
  const size = -insn.stack / 8;
  const { state } = m;
  const top = state.stackPointer - 8 * size;
  m.probeWrite(stackAddress(m, top, 8 * size, true), 8 * size);
  const pointer = state.r32[2 * RSP] as number;
  for (let n = 0; n < 8; n++) push(m, size, n === RSP ? pointer : (state.r32[2 * n] as number), 0);
};

const popAll: Translate = (insn) => (m) => {
  const size = insn.stack / 8;
  const values = Array.from({ length: 8 }, (_, n) => {
    peek(m, size, n * size);
    return m.lo;
  });
  release(m, 8 * size);
  for (const [at, value] of values.entries()) if (7 - at !== RSP) gprPlace(7 - at, size * 8).write(m, value);
};

const frameSize = (code: string): number => (code.includes('q') ? 8 : code.includes('w') ? 2 : 4);

const leave: Translate = (insn) => {
  const size = frameSize(insn.code);
  return (m) => {
    const { state } = m;
    const before = state.gprs[RSP] as bigint;
    state.stackPointer = state.stackBits === 64 ? state.signedGpr(RBP) : (state.r32[2 * RBP] as number) >>> 0;
    try {
      peek(m, size);
    } catch (error) {
      state.gprs[RSP] = before;
      throw error;
    }
    release(m, size);
    if (size === 8) gprPlace64(RBP).store(m, m.lo, m.hi);
    else gprPlace(RBP, size * 8).write(m, m.lo);
  };
};

const enter: Translate = (insn) => {
  const size = frameSize(insn.code);
  const [bytes, nesting] = insn.operands;
  if (bytes?.kind !== 'immediate' || nesting?.kind !== 'immediate' || (nesting.value & 31n) !== 0n) {
    throw new Stuck('ENTER with nesting');
  }
  const room = Number(bytes.value & 0xffffn);
  return (m) => {
    const { state } = m;
    push(m, size, state.r32[2 * RBP] as number, state.r32[2 * RBP + 1] as number);
    const frame = state.stackPointer;
    if (size === 8) state.setSignedGpr(RBP, frame);
    else gprPlace(RBP, size * 8).write(m, frame | 0);
    state.stackPointer = frame - room;
  };
};

export const stack: Family = {
  Push: pushOperand,
  Pop: popOperand,
  Pushf: pushFlags,
  Pushfd: pushFlags,
  Pushfq: pushFlags,
  Popf: popFlags,
  Popfd: popFlags,
  Popfq: popFlags,
  Pusha: pushAll,
  Pushad: pushAll,
  Popa: popAll,
  Popad: popAll,
  Leave: leave,
  Enter: enter,
};
