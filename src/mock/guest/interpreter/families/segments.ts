// Loads of data segment registers: SDM volume 2, MOV; volume 3, 6.5 to 6.8.
import { VECTOR } from '../../cpu/bits.js';
import { isNull, markAccessed, readDescriptor, selectorError } from '../../cpu/descriptors.js';
import { GuestFault, Stuck } from '../../cpu/fault.js';
import type { Segment } from '../../cpu/segment.js';
import { SEGMENTS } from '../decode.js';
import type { Machine } from '../machine.js';

const CS = 1;
const SS = 2;

function loadStackSegment(m: Machine, selector: number): void {
  const { state, memory } = m;
  state.shadowIp = m.next;
  const { cpl } = state;
  const rpl = selector & 3;
  if (isNull(selector)) {
    if (!state.in64 || cpl === 3 || rpl !== cpl) throw new GuestFault(VECTOR.GP, 0);
    state.ss.setNull(selector);
    state.ss.dpl = cpl;
    return;
  }
  const descriptor = readDescriptor(state, memory, selector);
  const { codeOrData, type, dpl, present } = descriptor;
  const writableData = codeOrData && (type & 10) === 2;
  if (rpl !== cpl || !writableData || dpl !== cpl) throw new GuestFault(VECTOR.GP, selectorError(selector));
  if (!present) throw new GuestFault(VECTOR.SS, selectorError(selector));
  markAccessed(state, memory, descriptor);
  state.ss.set(selector, descriptor.base, descriptor.limit, descriptor.access);
}

/** Loads ES, SS, DS, FS or GS. @param number the register's encoding. @throws GuestFault. */
export function loadSegment(m: Machine, number: number, selector: number): void {
  const { state } = m;
  if (!state.protectedMode) throw new Stuck('real mode');
  if (number === CS) throw new GuestFault(VECTOR.UD);
  if (number === SS) loadStackSegment(m, selector);
  else loadDataSegment(m, state[SEGMENTS[number] as 'ds'], selector);
}

function loadDataSegment({ state, memory }: Machine, segment: Segment, selector: number): void {
  if (isNull(selector)) {
    segment.setNull(selector);
    return;
  }
  const descriptor = readDescriptor(state, memory, selector);
  const { codeOrData, type, dpl, present } = descriptor;
  const readable = codeOrData && (type & 10) !== 8;
  const conforming = (type & 12) === 12;
  const tooHigh = !conforming && dpl < Math.max(state.cpl, selector & 3);
  if (!readable || tooHigh) throw new GuestFault(VECTOR.GP, selectorError(selector));
  if (!present) throw new GuestFault(VECTOR.NP, selectorError(selector));
  markAccessed(state, memory, descriptor);
  segment.set(selector, descriptor.base, descriptor.limit, descriptor.access);
}
