// Delivery of exceptions and software interrupts through the guest's IDT: Intel SDM volume 3, chapter 7.
import { IF, NT, RF, TF, VECTOR, VM } from './bits.js';
import { type Descriptor, isNull, markAccessed, readDescriptor, selectorError } from './descriptors.js';
import { GuestFault, Stuck, TripleFault } from './fault.js';
import { readLinear, writeLinear } from './linear-memory.js';
import { isCanonical } from './paging.js';
import type { PhysicalMemory } from './physical-memory.js';
import type { CpuState } from './state.js';
import { unsigned } from './state.js';

/** Error code bits: the event came from outside the program; the index is one of the IDT. */
const EXT = 1;
const IDT = 2;
const INTERRUPT_GATE = 14;
const TRAP_GATE = 15;

/** A software interrupt: INT n, INT3, INTO, INT1. */
export interface SoftwareInterrupt {
  /** Where the handler returns to. */
  nextIp: number;
  /** INT1 passes the check of the gate's privilege. */
  privileged?: boolean;
}

interface Delivery {
  readonly state: CpuState;
  readonly memory: PhysicalMemory;
  readonly vector: number;
  readonly errorCode: number | undefined;
  readonly software: SoftwareInterrupt | undefined;
  /** EXT, for the error codes of faults in delivery. */
  readonly ext: number;
}

interface Gate {
  selector: number;
  offset: number;
  ist: number;
  type: number;
}

function readGate({ state, memory, vector, software, ext }: Delivery): Gate {
  const size = state.longActive ? 16 : 8;
  const error = vector * 8 + IDT + ext;
  if ((vector + 1) * size - 1 > state.idtr.limit) throw new GuestFault(VECTOR.GP, error);
  const bytes = readLinear(state, memory, state.idtr.base + vector * size, size, 0);
  const view = new DataView(bytes.buffer);
  const access = bytes[5] as number;
  const type = access & 31;
  if (type !== INTERRUPT_GATE && type !== TRAP_GATE) {
    const other = type === 5 || type === 6 || type === 7;
    if (other && !state.longActive) throw new Stuck(`vector ${vector} has a task gate or a 16-bit gate (type ${type})`);
    throw new GuestFault(VECTOR.GP, error);
  }
  if (software !== undefined && !software.privileged && ((access >> 5) & 3) < state.cpl) {
    throw new GuestFault(VECTOR.GP, error);
  }
  if ((access & 0x80) === 0) throw new GuestFault(VECTOR.NP, error);
  const low = (view.getUint16(0, true) | (view.getUint16(6, true) << 16)) >>> 0;
  return {
    selector: view.getUint16(2, true),
    offset: size === 16 ? view.getInt32(8, true) * 0x1_0000_0000 + low : low,
    ist: size === 16 ? view.getUint8(4) & 7 : 0,
    type,
  };
}

function readHandlerCode({ state, memory, ext }: Delivery, { selector }: Gate): Descriptor {
  if (isNull(selector)) throw new GuestFault(VECTOR.GP, ext);
  const error = selectorError(selector) + ext;
  const code = readDescriptor(state, memory, selector);
  const wrongWidth = state.longActive && (code.access & 0x6000) !== 0x2000;
  if (!code.codeOrData || (code.type & 8) === 0 || code.dpl > state.cpl || wrongWidth) {
    throw new GuestFault(VECTOR.GP, error);
  }
  if (!code.present) throw new GuestFault(VECTOR.NP, error);
  return code;
}

const conforming = (code: Descriptor): boolean => (code.type & 4) !== 0;

/** A stack pointer of the 64-bit TSS: RSP0 to RSP2 at 4, IST1 to IST7 at 36. */
function stackOfTss64({ state, memory, ext }: Delivery, offset: number): number {
  if (state.tr.unusable || offset + 7 > state.tr.limit) {
    throw new GuestFault(VECTOR.TS, selectorError(state.tr.selector) + ext);
  }
  const view = new DataView(readLinear(state, memory, state.tr.base + offset, 8, 0).buffer);
  const pointer = view.getInt32(4, true) * 0x1_0000_0000 + view.getUint32(0, true);
  if (!isCanonical(pointer)) throw new GuestFault(VECTOR.SS, ext);
  return pointer;
}

/** RFLAGS as they are pushed: RF says that the instruction, once resumed, runs. Faults set it, traps do not. */
function flagsImage({ state, vector, software }: Delivery): number {
  const fault = software === undefined && vector !== VECTOR.DB && vector < 32 && vector !== VECTOR.DF && vector !== 2;
  return (fault ? state.flags | RF : state.flags) >>> 0;
}

const align16 = (pointer: number): number => pointer - (((pointer % 16) + 16) % 16);

function deliver64(delivery: Delivery, gate: Gate): void {
  const { state, memory, errorCode, software, ext } = delivery;
  const code = readHandlerCode(delivery, gate);
  const cpl = conforming(code) ? state.cpl : code.dpl;
  let stack = state.in64 ? state.signedGpr(4) : state.stackPointer;
  if (gate.ist !== 0) stack = stackOfTss64(delivery, 28 + 8 * gate.ist);
  else if (cpl !== state.cpl) stack = stackOfTss64(delivery, 4 + 8 * cpl);
  const words = [
    BigInt(state.ss.selector),
    state.gprs[4] as bigint,
    BigInt(flagsImage(delivery)),
    BigInt(state.cs.selector),
    unsigned(software?.nextIp ?? state.ip),
    ...(errorCode === undefined ? [] : [BigInt(errorCode)]),
  ];
  const frame = BigUint64Array.from(words.reverse());
  const top = align16(stack) - frame.byteLength;
  if (!isCanonical(gate.offset)) throw new GuestFault(VECTOR.GP, ext);
  // A handler's frame is a 64-bit access whatever was interrupted.
  const { cs } = state;
  const before = cs.clone();
  cs.access = code.access;
  try {
    writeLinear(state, memory, top, new Uint8Array(frame.buffer), cpl, VECTOR.SS);
    markAccessed(state, memory, code);
  } catch (error) {
    cs.copy(before);
    throw error;
  }
  cs.set((gate.selector & 0xfffc) | cpl, code.base, code.limit, code.access);
  if (cpl !== state.cpl) {
    state.ss.setNull(cpl);
    state.ss.dpl = cpl;
  }
  state.setSignedGpr(4, top);
  state.ip = gate.offset;
}

function deliver32(delivery: Delivery, gate: Gate): void {
  const { state, memory, errorCode, software } = delivery;
  const code = readHandlerCode(delivery, gate);
  if (!conforming(code) && code.dpl !== state.cpl) {
    throw new Stuck('an exception in 32-bit protected mode that changes the privilege level');
  }
  if ((code.access & 0x4000) === 0) throw new Stuck('an exception handler in 16-bit code');
  const words = [
    flagsImage(delivery),
    state.cs.selector,
    (software?.nextIp ?? state.ip) >>> 0,
    ...(errorCode === undefined ? [] : [errorCode]),
  ];
  const frame = Uint32Array.from(words.reverse());
  const top = state.stackPointer - frame.byteLength;
  if (gate.offset > code.limit) throw new GuestFault(VECTOR.GP, delivery.ext);
  writeLinear(state, memory, state.ss.base + top, new Uint8Array(frame.buffer), state.cpl, VECTOR.SS);
  markAccessed(state, memory, code);
  state.cs.set((gate.selector & 0xfffc) | state.cpl, code.base, code.limit, code.access);
  state.stackPointer = top;
  state.ip = gate.offset;
}

function deliverOnce(delivery: Delivery): void {
  const gate = readGate(delivery);
  if (delivery.state.longActive) deliver64(delivery, gate);
  else deliver32(delivery, gate);
  const clear = TF | NT | RF | VM | (gate.type === INTERRUPT_GATE ? IF : 0);
  delivery.state.flags &= ~clear;
}

type Class = 'benign' | 'contributory' | 'page fault';
const CONTRIBUTORY = new Set<number>([VECTOR.DE, VECTOR.TS, VECTOR.NP, VECTOR.SS, VECTOR.GP, VECTOR.CP]);
const classOf = (vector: number): Class =>
  vector === VECTOR.PF || vector === VECTOR.VE ? 'page fault' : CONTRIBUTORY.has(vector) ? 'contributory' : 'benign';

/** What follows when `second` is raised in the delivery of `first`: SDM volume 3, table 7-5. */
function follow(first: number, second: number): 'second' | 'double fault' | 'shutdown' {
  const [a, b] = [classOf(first), classOf(second)];
  if (b === 'benign') return 'second';
  if (first === VECTOR.DF) return 'shutdown';
  if (a === 'benign' || (a === 'contributory' && b === 'page fault')) return 'second';
  return 'double fault';
}

/**
 * Delivers an exception at `state.ip`, and those that follow from it. The state changes only once a handler is reached.
 * @param software where it is a software interrupt: faults in its delivery name the instruction, not an outside event.
 * @throws TripleFault; EptViolation when a table or the stack lies in memory that does not answer (the exception is
 * still to be delivered then); Stuck.
 */
export function raise(state: CpuState, memory: PhysicalMemory, fault: GuestFault, software?: SoftwareInterrupt): void {
  let current = fault;
  let byProgram = software;
  for (;;) {
    if (current.cr2 !== undefined) state.cr2 = current.cr2;
    const { vector, errorCode } = current;
    try {
      deliverOnce({ state, memory, vector, errorCode, software: byProgram, ext: byProgram === undefined ? EXT : 0 });
      return;
    } catch (error) {
      if (!(error instanceof GuestFault)) throw error;
      const next = byProgram === undefined ? follow(vector, error.vector) : 'second';
      if (next === 'shutdown') throw new TripleFault();
      current = next === 'second' ? error : new GuestFault(VECTOR.DF, 0);
      byProgram = undefined;
    }
  }
}

/** As {@link raise}, by vector; the error code is pushed where one is given. */
export function deliverException(state: CpuState, memory: PhysicalMemory, vector: number, errorCode?: number): void {
  raise(state, memory, new GuestFault(vector, errorCode));
}
