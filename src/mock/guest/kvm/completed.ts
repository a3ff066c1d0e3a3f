// KVM tells of a write, to memory or to a port, when the instruction is done: registers have changed already. A TD's module
// wants to see the instruction not begun. Here it is found again, backwards, and what it did to registers is undone.
import { PAGE_SIZE } from '../../../kvm/constants.js';
import type { CpuState } from '../cpu/index.js';
import type { Insn } from '../interpreter/decode.js';
import { codeAddress, decodeAt, MAX_INSN, type Observer, operandAddress, stringSize } from './code.js';

const RCX = 1;
const RDX = 2;
const RSP = 4;
const RSI = 6;
const RDI = 7;
const DF = 0x400;
/** How far before an instruction decoding starts, to see which boundaries it agrees on. */
const LEAD = 48;

/** A write that has left KVM_RUN. */
export interface MemoryWrite {
  gpa: number;
  data: Uint8Array;
}
export interface PortWrite {
  port: number;
  size: number;
  count: number;
}

/** An instruction that has been executed, and the registers before. */
export interface Completed {
  insn: Insn;
  /** Linear address that it wrote; undefined for a port. */
  gla: number | undefined;
  /** Makes the registers what they were before. */
  undo(): void;
}

interface Candidate extends Completed {
  start: number;
}

/** How an instruction can have made the write, and what of it to undo. */
type Try = (insn: Insn) => { gla: number | undefined; registers(): void } | undefined;

function moveBack(state: CpuState, insn: Insn, which: readonly number[], elements: number): void {
  const step = BigInt(stringSize(insn) * elements) * ((state.flags & DF) !== 0 ? -1n : 1n);
  for (const n of which) state.gprs[n] = BigInt.asUintN(64, (state.gprs[n] as bigint) - step);
  if (insn.rep || insn.repne) state.gprs[RCX] = BigInt.asUintN(64, (state.gprs[RCX] as bigint) + BigInt(elements));
}

/** Registers that a string instruction moves. */
const pointersOf = ({ name }: Insn): readonly number[] =>
  name.startsWith('Movs') || name.startsWith('Cmps') ? [RSI, RDI] : /^(?:Stos|Ins|Scas)/.test(name) ? [RDI] : [RSI];

const nothing = (): void => {};

/** KVM hands a write over in pieces of at most 8 bytes, within a page. */
const sizeOfFirst = (size: number, gpa: number): number => Math.min(size, 8, PAGE_SIZE - (gpa % PAGE_SIZE));

/** Whether a MOV can have stored `data`; true for what it cannot be told of. */
function isStored(state: CpuState, { name, operands }: Insn, data: Uint8Array): boolean {
  const source = operands[1];
  if (name !== 'Mov' || source === undefined) return true;
  let value: bigint;
  if (source.kind === 'immediate') ({ value } = source);
  else if (source.kind === 'reg' && source.file === 'gpr') {
    value = (state.gprs[source.number] as bigint) >> (source.highByte ? 8n : 0n);
  } else return true;
  return data.every((byte, i) => Number((value >> BigInt(8 * i)) & 0xffn) === byte);
}

/** How `insn`, just executed, would have written to `write.gpa`. */
function writesMemory(state: CpuState, observer: Observer, { gpa, data }: MemoryWrite): Try {
  const size = data.length;
  const hits = (linear: number | undefined): linear is number =>
    linear !== undefined && observer.find(state, linear, 'write') === gpa;
  return (insn) => {
    const [first] = insn.operands;
    if (stringSize(insn) > 0) {
      if (first?.kind !== 'string' || first.source || stringSize(insn) !== size) return undefined;
      const gla = lastDestination(state, insn);
      return hits(gla) ? { gla, registers: () => moveBack(state, insn, pointersOf(insn), 1) } : undefined;
    }
    if (/^(?:Push|Call)/.test(insn.name)) {
      const gla = state.signedGpr(RSP);
      const bytes = state.in64 ? 8 : 4;
      if (!hits(gla)) return undefined;
      return { gla, registers: () => state.setSignedGpr(RSP, gla + bytes) };
    }
    if (first?.kind !== 'memory' || (first.size !== 0 && sizeOfFirst(first.size, gpa) !== size)) return undefined;
    if (!isStored(state, insn, data)) return undefined;
    const gla = operandAddress(state, first);
    return hits(gla) ? { gla, registers: nothing } : undefined;
  };
}

/** Where the last element of a string instruction went, computed from registers that have moved on. */
function lastDestination(state: CpuState, insn: Insn): number | undefined {
  const step = stringSize(insn) * ((state.flags & DF) !== 0 ? -1 : 1);
  const now = operandAddress(state, insn.operands[0]!);
  return now === undefined ? undefined : now - step;
}

function writesPort(state: CpuState, { port, size, count }: PortWrite): Try {
  const dx = Number((state.gprs[RDX] as bigint) & 0xffffn);
  return (insn) => {
    if (insn.name.startsWith('Outs')) {
      if (dx !== port || stringSize(insn) !== size) return undefined;
      return { gla: undefined, registers: () => moveBack(state, insn, [RSI], count) };
    }
    if (insn.name !== 'Out') return undefined;
    const [to, from] = insn.operands;
    const target = to?.kind === 'immediate' ? Number(to.value & 0xffn) : dx;
    if (target !== port || from?.kind !== 'reg' || from.bits !== size * 8) return undefined;
    return { gla: undefined, registers: nothing };
  };
}

/** Starts of the instructions that decoding reaches `end` by, by how many starting points agree on each. */
function votes(state: CpuState, before: Uint8Array, end: number): Map<number, number> {
  const found = new Map<number, number>();
  for (let from = 0; from < before.length - MAX_INSN; from++) {
    for (let at = from; at < before.length; ) {
      const insn = decodeAt(state, before.subarray(at), end - before.length + at);
      if (typeof insn === 'string') break;
      if (at + insn.length === before.length) found.set(at, (found.get(at) ?? 0) + 1);
      at += insn.length;
    }
  }
  return new Map([...found].map(([at, count]) => [end - before.length + at, count]));
}

function search(state: CpuState, observer: Observer, attempt: Try): Completed | undefined {
  const candidates: Candidate[] = [];
  const consider = (insn: Insn, start: number): void => {
    const match = attempt(insn);
    if (match === undefined) return;
    const undo = (): void => {
      match.registers();
      state.ip = start;
    };
    candidates.push({ insn, start, gla: match.gla, undo });
  };

  // A repeated instruction that is not through stays where it is.
  const here = decodeAt(state, observer.bytes(state, codeAddress(state), MAX_INSN), state.ip);
  if (typeof here !== 'string' && (here.rep || here.repne) && stringSize(here) > 0) consider(here, state.ip);

  const before = bytesBefore(state, observer, state.ip);
  for (let length = 1; length <= Math.min(MAX_INSN, before.length); length++) {
    const insn = decodeAt(state, before.subarray(before.length - length), state.ip - length);
    if (typeof insn !== 'string' && insn.length === length && !insn.name.startsWith('Call')) {
      consider(insn, state.ip - length);
    }
  }
  if (candidates.length < 2) return candidates[0];
  const counts = votes(state, before, state.ip);
  return candidates.reduce((best, each) =>
    (counts.get(each.start) ?? 0) > (counts.get(best.start) ?? 0) ? each : best,
  );
}

function bytesBefore(state: CpuState, observer: Observer, ip: number): Uint8Array {
  for (const length of [LEAD, MAX_INSN]) {
    const bytes = observer.bytes(state, codeAddress(state, ip - length), length);
    if (bytes.length === length) return bytes;
  }
  // At the start of a page behind which nothing is: as many as there are.
  for (let length = MAX_INSN - 1; length > 0; length--) {
    const bytes = observer.bytes(state, codeAddress(state, ip - length), length);
    if (bytes.length === length) return bytes;
  }
  return new Uint8Array(0);
}

/** A CALL whose return address could not be stored: the instruction before the address that it wrote. */
function searchCall(state: CpuState, observer: Observer, data: Uint8Array): Completed | undefined {
  const gla = state.signedGpr(RSP);
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const end = data.length === 8 ? Number(view.getBigInt64(0, true)) : data.length === 4 ? view.getUint32(0, true) : NaN;
  if (Number.isNaN(end)) return undefined;
  const before = bytesBefore(state, observer, end);
  for (let length = 2; length <= Math.min(MAX_INSN, before.length); length++) {
    const insn = decodeAt(state, before.subarray(before.length - length), end - length);
    if (typeof insn === 'string' || insn.length !== length || insn.name !== 'Call') continue;
    const undo = (): void => {
      state.setSignedGpr(RSP, gla + data.length);
      state.ip = end - length;
    };
    return { insn, gla, undo };
  }
  return undefined;
}

/** The instruction that has just written `data` to `gpa`; undefined where none can have. */
export function completedWrite(
  state: CpuState,
  observer: Observer,
  gpa: number,
  data: Uint8Array,
): Completed | undefined {
  const found = search(state, observer, writesMemory(state, observer, { gpa, data }));
  if (found !== undefined) return found;
  return observer.find(state, state.signedGpr(RSP), 'write') === gpa ? searchCall(state, observer, data) : undefined;
}

/** The instruction that has just written to a port. */
export const completedOut = (state: CpuState, observer: Observer, write: PortWrite): Completed | undefined =>
  search(state, observer, writesPort(state, write));
