import type { Access } from '../engine.js';
import { VECTOR } from './bits.js';
import { EptViolation, GuestFault } from './fault.js';
import { isCanonical, translate } from './paging.js';
import type { PhysicalMemory } from './physical-memory.js';
import { type CpuState, unsigned } from './state.js';

const PAGE_SIZE = 0x1000;

/** A stretch of linear memory within one page, translated. */
interface Piece {
  readonly linear: number;
  readonly gpa: number;
  readonly length: number;
}

function pieces(
  state: CpuState,
  memory: PhysicalMemory,
  linear: number,
  length: number,
  access: Access,
  cpl: number,
  vector: number,
): Piece[] {
  const found: Piece[] = [];
  for (let done = 0; done < length; ) {
    let at = linear + done;
    if (!state.longActive) at >>>= 0;
    if (!isCanonical(at)) throw new GuestFault(vector, 0);
    const left = PAGE_SIZE - (at & (PAGE_SIZE - 1));
    const piece = Math.min(left, length - done);
    found.push({ linear: at, gpa: translate(state, memory, at, access, cpl), length: piece });
    done += piece;
  }
  return found;
}

/**
 * Reads linear memory. All of it is translated before anything is read.
 * @param linear signed. @param vector of the exception for an address that is not canonical.
 * @throws GuestFault; EptViolation.
 */
export function readLinear(
  state: CpuState,
  memory: PhysicalMemory,
  linear: number,
  length: number,
  cpl: number = state.cpl,
  vector: number = VECTOR.GP,
): Uint8Array {
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces(state, memory, linear, length, 'read', cpl, vector)) {
    const part = memory.read(piece.gpa, piece.length);
    if (part === undefined) throw new EptViolation(piece.gpa, unsigned(piece.linear), 'read');
    bytes.set(part, at);
    at += piece.length;
  }
  return bytes;
}

/** Writes linear memory, all of it or, where a page of it faults, nothing. @throws GuestFault; EptViolation. */
export function writeLinear(
  state: CpuState,
  memory: PhysicalMemory,
  linear: number,
  bytes: Uint8Array,
  cpl: number = state.cpl,
  vector: number = VECTOR.GP,
): void {
  const parts = pieces(state, memory, linear, bytes.length, 'write', cpl, vector);
  // Physical memory that does not answer must be found before the first byte is written.
  if (parts.length > 1) for (const { gpa, linear: at } of parts) probe(memory, gpa, at);
  let at = 0;
  for (const piece of parts) {
    if (!memory.write(piece.gpa, bytes.subarray(at, at + piece.length))) {
      throw new EptViolation(piece.gpa, unsigned(piece.linear), 'write');
    }
    at += piece.length;
  }
}

function probe(memory: PhysicalMemory, gpa: number, linear: number): void {
  if (memory.read(gpa, 1) === undefined) throw new EptViolation(gpa, unsigned(linear), 'write');
}

/** Whether all of a write would be taken; for instructions that must not fault after they have begun. */
export function probeWrite(
  state: CpuState,
  memory: PhysicalMemory,
  linear: number,
  length: number,
  cpl: number = state.cpl,
  vector: number = VECTOR.GP,
): void {
  for (const { gpa, linear: at } of pieces(state, memory, linear, length, 'write', cpl, vector)) probe(memory, gpa, at);
}
