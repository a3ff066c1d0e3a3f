import { RF, VECTOR } from '../cpu/bits.js';
import { raise } from '../cpu/exceptions.js';
import { EptViolation, GuestFault, Stuck, TripleFault } from '../cpu/fault.js';
import type { GuestEvent } from '../engine.js';
import type { Op } from './code-cache.js';
import { type Decoded, decode, disassemble, type Insn } from './decode.js';
import { FAMILIES } from './families/index.js';
import type { Machine } from './machine.js';
import { Trap } from './trap.js';

const PAGE_SIZE = 0x1000;
const LONGEST = 15;

function linearIp({ state }: Machine): number {
  return state.in64 ? state.ip : (state.cs.base + state.ip) >>> 0;
}

/** Up to 15 bytes at the instruction pointer. Those of a second page are read only where they are needed. */
function fetchAndDecode(m: Machine, linear: number): { decoded: Decoded; crosses: boolean } {
  const { rip } = m.state;
  const first = m.codeBytes(linear).subarray(0, LONGEST);
  const decoded = decode(first, rip, m.bits);
  if (decoded !== 'more bytes' || first.length === LONGEST) return { decoded, crosses: false };
  const rest = m.codeBytes(linear + first.length).subarray(0, LONGEST - first.length);
  return { decoded: decode(Uint8Array.of(...first, ...rest), rip, m.bits), crosses: true };
}

function translation(insn: Insn): Op {
  const translate = FAMILIES.get(insn.name);
  if (translate === undefined) throw new Stuck('this instruction');
  return { insn, exec: translate(insn) };
}

/** The instruction at the instruction pointer, decoded and translated; kept for the next time unless it crosses pages. */
function find(m: Machine, linear: number): Op {
  if (m.bits === 16) throw new Stuck('16-bit code');
  m.op = undefined;
  const page = m.codePage(linear);
  if (page !== undefined) {
    const known = m.enter(linear, page).ops[linear & (PAGE_SIZE - 1)];
    if (known !== undefined) return known;
  }
  const { decoded, crosses } = fetchAndDecode(m, linear);
  if (decoded === 'more bytes') throw new GuestFault(VECTOR.GP, 0);
  if (decoded === 'invalid') throw new GuestFault(VECTOR.UD);
  const op = translation(decoded);
  if (page !== undefined && !crosses) m.code.add(linear & (PAGE_SIZE - 1), op);
  return op;
}

/**
 * Executes one instruction.
 * @throws GuestFault, EptViolation, Trap, Stuck: nothing has changed then, but for elements that a repeated string
 * instruction has done.
 */
export function executeOne(m: Machine): void {
  const { state } = m;
  const linear = linearIp(m);
  const here = Math.floor(linear / PAGE_SIZE) === m.code.page ? m.code.ops[linear & (PAGE_SIZE - 1)] : undefined;
  const op = here ?? find(m, linear);
  m.op = op;
  const next = state.ip + op.insn.length;
  m.next = op.insn.bits === 64 ? next : next >>> 0;
  op.exec(m);
  state.ip = m.next;
  if ((state.flags & RF) !== 0) state.flags &= ~RF;
}

/** Delivers an exception through the guest's IDT. @throws TripleFault, EptViolation, Stuck. */
export function deliver(m: Machine, fault: GuestFault): void {
  raise(m.state, m.memory, fault);
  m.flush();
}

function stuck(m: Machine, { why }: Stuck): GuestEvent {
  const { rip } = m.state;
  let bytes = new Uint8Array(0);
  try {
    bytes = m.codeBytes(linearIp(m)).slice(0, LONGEST);
  } catch {
    // What it was cannot be read; why it was not executed is known all the same.
  }
  const text = bytes.length > 0 ? disassemble(bytes, rip, m.bits) : '';
  return { kind: 'stuck', why: `the interpreter does not know ${why}${text && `: ${text}`}`, rip, bytes };
}

/** What became of something that was thrown: an event, or nothing where the guest's handler has it now. */
function settle(m: Machine, error: unknown): GuestEvent | undefined {
  if (error instanceof GuestFault) {
    deliver(m, error);
    return undefined;
  }
  if (error instanceof Trap) return error.event;
  if (error instanceof TripleFault) return { kind: 'triple-fault' };
  if (error instanceof Stuck) return stuck(m, error);
  if (error instanceof EptViolation) {
    const { gpa, gla, access } = error;
    return { kind: 'ept-violation', gpa, gla, access, length: access === 'execute' ? 0 : (m.op?.insn.length ?? 0) };
  }
  throw error;
}

/** As {@link settle}, for what delivering throws as well. */
export function settled(m: Machine, error: unknown): GuestEvent | undefined {
  try {
    return settle(m, error);
  } catch (inDelivery) {
    return settle(m, inDelivery);
  }
}

/** Executes up to `most` instructions. @returns the event that ended it before. */
export function execute(m: Machine, most: number): GuestEvent | undefined {
  for (let left = most; left > 0; ) {
    try {
      for (; left > 0; left--) executeOne(m);
    } catch (error) {
      left--;
      const event = settled(m, error);
      if (event !== undefined) return event;
    }
  }
  return undefined;
}

/** As {@link execute}, and ends in front of the first instruction that an external interrupt may come before. */
export function executeToWindow(m: Machine, most: number): GuestEvent | undefined {
  for (let left = most; left > 0; left--) {
    if (m.state.interruptible) return { kind: 'interrupt-window' };
    m.state.shadowIp = Number.NaN;
    const event = stepSettled(m);
    if (event !== undefined) return event;
  }
  return undefined;
}

function stepSettled(m: Machine): GuestEvent | undefined {
  try {
    executeOne(m);
    return undefined;
  } catch (error) {
    return settled(m, error);
  }
}
