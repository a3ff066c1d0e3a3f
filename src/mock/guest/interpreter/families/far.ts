// Transfers to other code segments: far JMP, CALL and RET at the same privilege, IRET, SYSCALL and SYSRET.
import { EFER_SCE, NT, R11, RCX, RF, RSP, TF, VECTOR, VM } from '../../cpu/bits.js';
import { type Descriptor, isNull, markAccessed, readDescriptor, selectorError } from '../../cpu/descriptors.js';
import { GuestFault, Stuck } from '../../cpu/fault.js';
import { readLinear } from '../../cpu/linear-memory.js';
import { isCanonical } from '../../cpu/paging.js';
import { signed, unsigned } from '../../cpu/state.js';
import type { Insn } from '../decode.js';
import type { Machine } from '../machine.js';
import { addressOf } from '../places.js';
import type { Translate } from './family.js';
import { changeableFlags, peek, push, release, setFlags } from './stack.js';

interface Target {
  selector: number;
  /** Signed. */
  offset: number;
}

/** The far pointer of an operand: immediate, or offset and selector in memory. */
function pointerOf(insn: Insn): (m: Machine) => Target {
  const [operand] = insn.operands;
  if (operand?.kind === 'far') {
    const target = { selector: operand.selector, offset: operand.offset >>> 0 };
    if (insn.code.endsWith('1616')) throw new Stuck('a far branch with 16-bit operands');
    return () => target;
  }
  if (operand?.kind !== 'memory' || insn.code.endsWith('1616')) throw new Stuck('a far branch of this form');
  const wide = insn.code.endsWith('m1664');
  const size = wide ? 10 : 6;
  const address = addressOf(insn, operand, size);
  return (m) => {
    const view = new DataView(m.readBytes(address(m, false), size).buffer);
    const offset = wide ? signed(view.getBigUint64(0, true)) : view.getUint32(0, true);
    return { selector: view.getUint16(size - 2, true), offset };
  };
}

/** A code segment that CS may be loaded with. @param cpl that results. */
function readCode(m: Machine, selector: number, cpl: number, returning: boolean): Descriptor {
  const { state, memory } = m;
  if (!state.protectedMode) throw new Stuck('a far branch in real mode');
  if (isNull(selector)) throw new GuestFault(VECTOR.GP, 0);
  const code = readDescriptor(state, memory, selector);
  const refused = new GuestFault(VECTOR.GP, selectorError(selector));
  if (!code.codeOrData && !returning && [5, 9, 11, 12].includes(code.type)) {
    throw new Stuck('a far branch through a gate or a TSS');
  }
  if (!code.codeOrData || (code.type & 8) === 0) throw refused;
  const conforming = (code.type & 4) !== 0;
  if (conforming ? code.dpl > cpl : code.dpl !== cpl) throw refused;
  if (!conforming && !returning && (selector & 3) > cpl) throw refused;
  if (state.longActive && (code.access & 0x6000) === 0x6000) throw refused;
  if (!code.present) throw new GuestFault(VECTOR.NP, selectorError(selector));
  if ((code.access & 0x6000) === 0) throw new Stuck('16-bit code');
  return code;
}

function checkOffset(m: Machine, code: Descriptor, offset: number): void {
  const to64 = m.state.longActive && (code.access & 0x2000) !== 0;
  if (to64 ? !isCanonical(offset) : offset >>> 0 > code.limit) throw new GuestFault(VECTOR.GP, 0);
}

function enterCode(m: Machine, selector: number, cpl: number, code: Descriptor, offset: number): void {
  const { state, memory } = m;
  markAccessed(state, memory, code);
  state.cs.set((selector & 0xfffc) | cpl, code.base, code.limit, code.access);
  m.next = state.in64 ? offset : offset >>> 0;
  m.forgetCode();
}

export const farJump: Translate = (insn) => {
  const pointer = pointerOf(insn);
  return (m) => {
    const { selector, offset } = pointer(m);
    const { cpl } = m.state;
    const code = readCode(m, selector, cpl, false);
    checkOffset(m, code, offset);
    enterCode(m, selector, cpl, code, offset);
  };
};

export const farCall: Translate = (insn) => {
  const pointer = pointerOf(insn);
  const size = insn.code.endsWith('1664') ? 8 : 4;
  return (m) => {
    const { state } = m;
    const { selector, offset } = pointer(m);
    const code = readCode(m, selector, state.cpl, false);
    checkOffset(m, code, offset);
    const { next } = m;
    const before = state.gprs[RSP] as bigint;
    try {
      push(m, size, state.cs.selector, 0);
      push(m, size, next | 0, Math.floor(next / 0x1_0000_0000) | 0);
      enterCode(m, selector, state.cpl, code, offset);
    } catch (error) {
      state.gprs[RSP] = before;
      throw error;
    }
  };
};

/** Two, four or eight bytes of the stack as a signed number (unsigned below eight). */
function peekAddress(m: Machine, size: number, offset: number): number {
  peek(m, size, offset);
  return size === 8 ? m.hi * 0x1_0000_0000 + (m.lo >>> 0) : m.lo >>> 0;
}

function peekSelector(m: Machine, size: number, offset: number): number {
  peek(m, size, offset);
  return m.lo & 0xffff;
}

/** What returning to less privilege does to data segments that are not for it. */
function dropSegments(m: Machine, cpl: number): void {
  for (const name of ['es', 'ds', 'fs', 'gs'] as const) {
    const segment = m.state[name];
    const conforming = (segment.type & 12) === 12;
    if (!segment.unusable && segment.dpl < cpl && !conforming) segment.setNull(0);
  }
}

/** SS of a return to less privilege. @param to64 whether the return is to 64-bit code, where it may be null. */
function loadOuterStack(m: Machine, selector: number, cpl: number, to64: boolean): void {
  const { state, memory } = m;
  if (isNull(selector)) {
    if (!to64 || cpl === 3 || (selector & 3) !== cpl) throw new GuestFault(VECTOR.GP, 0);
    state.ss.setNull(selector);
    state.ss.dpl = cpl;
    return;
  }
  const descriptor = readDescriptor(state, memory, selector);
  const { codeOrData, type, dpl, present } = descriptor;
  if ((selector & 3) !== cpl || dpl !== cpl || !codeOrData || (type & 10) !== 2) {
    throw new GuestFault(VECTOR.GP, selectorError(selector));
  }
  if (!present) throw new GuestFault(VECTOR.SS, selectorError(selector));
  markAccessed(state, memory, descriptor);
  state.ss.set(selector, descriptor.base, descriptor.limit, descriptor.access);
}

export const farReturn: Translate = (insn) => {
  const size = insn.code.startsWith('Retfq') ? 8 : 4;
  if (insn.code.startsWith('Retfw')) throw new Stuck('a far return with 16-bit operands');
  const [operand] = insn.operands;
  const extra = operand?.kind === 'immediate' ? Number(operand.value & 0xffffn) : 0;
  return (m) => {
    const { state } = m;
    const offset = peekAddress(m, size, 0);
    const selector = peekSelector(m, size, size);
    const cpl = selector & 3;
    if (cpl < state.cpl) throw new GuestFault(VECTOR.GP, selectorError(selector));
    const code = readCode(m, selector, cpl, true);
    checkOffset(m, code, offset);
    if (cpl === state.cpl) {
      enterCode(m, selector, cpl, code, offset);
      release(m, 2 * size + extra);
      return;
    }
    const pointer = peekAddress(m, size, 2 * size + extra);
    const stack = peekSelector(m, size, 3 * size + extra);
    loadOuterStack(m, stack, cpl, (code.access & 0x2000) !== 0);
    enterCode(m, selector, cpl, code, offset);
    state.stackPointer = pointer + extra;
    dropSegments(m, cpl);
    m.flush();
  };
};

/** IRET in its 32- and 64-bit forms. In 64-bit mode SS and RSP are always taken from the stack. */
export const interruptReturn: Translate = (insn) => {
  if (insn.code === 'Iretw') throw new Stuck('an IRET with 16-bit operands');
  const size = insn.code === 'Iretq' ? 8 : 4;
  return (m) => {
    const { state } = m;
    if ((state.flags & NT) !== 0) {
      if (state.longActive) throw new GuestFault(VECTOR.GP, 0);
      throw new Stuck('an IRET to another task');
    }
    const from64 = state.in64;
    const offset = peekAddress(m, size, 0);
    const selector = peekSelector(m, size, size);
    peek(m, size, 2 * size);
    const flags = m.lo;
    if ((flags & VM) !== 0 && !state.longActive) throw new Stuck('virtual-8086 mode');
    const cpl = selector & 3;
    if (!isNull(selector) && cpl < state.cpl) throw new GuestFault(VECTOR.GP, selectorError(selector));
    const code = readCode(m, selector, cpl, true);
    checkOffset(m, code, offset);
    const mask = changeableFlags(state.cpl, state.flags, size) | RF;
    const outer = cpl !== state.cpl;
    if (from64 || outer) {
      const pointer = peekAddress(m, size, 3 * size);
      const stack = peekSelector(m, size, 4 * size);
      loadOuterStack(m, stack, cpl, (code.access & 0x2000) !== 0);
      enterCode(m, selector, cpl, code, offset);
      if (state.in64 || from64) state.setSignedGpr(RSP, pointer);
      else state.stackPointer = pointer;
    } else {
      enterCode(m, selector, cpl, code, offset);
      release(m, 3 * size);
    }
    setFlags(m, flags, mask);
    if (outer) {
      dropSegments(m, cpl);
      m.flush();
    }
  };
};

const STAR = 0xc000_0081;
const LSTAR = 0xc000_0082;
const FMASK = 0xc000_0084;
const CODE_64 = 0xa09b;
const CODE_32 = 0xc09b;
const DATA = 0xc093;

const msr = (m: Machine, index: number): bigint => m.state.msrs.get(index) ?? 0n;

export const systemCall: Translate = () => (m) => {
  const { state } = m;
  if (!state.in64 || (state.efer & EFER_SCE) === 0) throw new GuestFault(VECTOR.UD);
  const selector = Number((msr(m, STAR) >> 32n) & 0xfffcn);
  state.gprs[RCX] = unsigned(m.next);
  state.gprs[R11] = state.rflags;
  m.next = signed(msr(m, LSTAR));
  state.flags = ((state.flags & ~Number(msr(m, FMASK) & 0xffff_ffffn) & ~RF) | 2) >>> 0;
  state.cs.set(selector, 0, 0xffff_ffff, CODE_64);
  state.ss.set(selector + 8, 0, 0xffff_ffff, DATA);
  m.flush();
};

export const systemReturn: Translate = (insn) => {
  const to64 = insn.code === 'Sysretq';
  return (m) => {
    const { state } = m;
    if (!state.in64 || (state.efer & EFER_SCE) === 0) throw new GuestFault(VECTOR.UD);
    const target = state.signedGpr(RCX);
    if (state.cpl !== 0 || (to64 && !isCanonical(target))) throw new GuestFault(VECTOR.GP, 0);
    const base = Number((msr(m, STAR) >> 48n) & 0xffffn);
    const selector = to64 ? base + 16 : base;
    const flags = Number((state.gprs[R11] as bigint) & 0x3c_7fd7n) | 2;
    if ((flags & TF) !== 0) throw new Stuck('single-stepping (RFLAGS.TF)');
    m.next = to64 ? target : target >>> 0;
    state.flags = flags;
    state.cs.set(selector | 3, 0, 0xffff_ffff, (to64 ? CODE_64 : CODE_32) | 0x60);
    state.ss.set((base + 8) | 3, 0, 0xffff_ffff, DATA | 0x60);
    m.flush();
  };
};

/** Whether the I/O permission bitmap of the TSS lets a program at this privilege use the ports. */
export function portsAllowed(m: Machine, port: number, size: number): boolean {
  const { state, memory } = m;
  if (state.cpl <= (state.flags >> 12) % 4) return true;
  const { tr } = state;
  if (tr.unusable || tr.limit < 0x67) return false;
  const at = new DataView(readLinear(state, memory, tr.base + 0x66, 2, 0).buffer).getUint16(0, true) + (port >> 3);
  if (at + 1 > tr.limit) return false;
  const bits = new DataView(readLinear(state, memory, tr.base + at, 2, 0).buffer).getUint16(0, true);
  return ((bits >> (port & 7)) & ((1 << size) - 1)) === 0;
}
