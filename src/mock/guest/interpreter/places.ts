// Operands: where an instruction reads and writes. A place of memory computes its address once per instruction; what comes
// after a first access (`writeBack`) goes to the same address, whatever the instruction did to the registers meanwhile.
import { VECTOR } from '../cpu/bits.js';
import { GuestFault, Stuck } from '../cpu/fault.js';
import { isCanonical } from '../cpu/paging.js';
import type { Segment } from '../cpu/segment.js';
import { signed } from '../cpu/state.js';
import type { Insn, MemoryOperand, Operand, SegmentName } from './decode.js';
import type { Machine } from './machine.js';

/** Linear address of an operand; checks its segment. */
export type Address = (m: Machine, write: boolean) => number;

/** 8, 16 or 32 bits. */
export interface Place {
  read(m: Machine): number;
  /** Reads what will be written back; faults as the write would. */
  readForWrite(m: Machine): number;
  write(m: Machine, value: number): void;
  writeBack(m: Machine, value: number): void;
}

/** 64 bits: into and from `m.lo`, `m.hi`. */
export interface Place64 {
  load(m: Machine): void;
  loadForWrite(m: Machine): void;
  store(m: Machine, lo: number, hi: number): void;
  storeBack(m: Machine, lo: number, hi: number): void;
}

/** Segment, limit and rights of an access in 32-bit code: SDM volume 3, 6.3 and 6.5. */
function checkSegment(name: SegmentName, segment: Segment, offset: number, size: number, write: boolean): void {
  const last = offset + size - 1;
  const { expandDown, limit, big } = segment;
  const outside = expandDown ? offset <= limit || last > (big ? 0xffff_ffff : 0xffff) : last > limit;
  if (segment.unusable || outside || (write ? !segment.writable : !segment.readable)) {
    throw new GuestFault(name === 'ss' ? VECTOR.SS : VECTOR.GP, 0);
  }
}

/** Adds a segment to an offset that instructions compute. */
export function segmented(m: Machine, name: SegmentName, offset: number, size: number, write: boolean): number {
  const { state } = m;
  if (state.in64) {
    const linear = name === 'fs' || name === 'gs' ? add64(state[name].base, offset) : offset;
    if (name === 'ss' && !isCanonical(linear)) throw new GuestFault(VECTOR.SS, 0);
    return linear;
  }
  const segment = state[name];
  checkSegment(name, segment, offset, size, write);
  return (segment.base + offset) >>> 0;
}

const EXACT = 2 ** 52;

/** Sum modulo 2^64, as a signed number; exact wherever it is canonical. */
function add64(a: number, b: number): number {
  if (Math.abs(a) < EXACT && Math.abs(b) < EXACT) return a + b;
  return signed(BigInt(a) + BigInt(b));
}

/** The offset an operand's registers and displacement give. */
function offsetOf({ base, index, scale, displacement, addressBits }: MemoryOperand): (m: Machine) => number {
  if (addressBits === 16) throw new Stuck('16-bit addressing');
  if (addressBits === 32) {
    const fixed = Number(BigInt.asUintN(32, displacement));
    return ({ state: { r32 } }) => {
      const a = base < 0 ? 0 : (r32[2 * base] as number);
      const b = index < 0 ? 0 : (r32[2 * index] as number);
      return (a + b * scale + fixed) >>> 0;
    };
  }
  const fixed = signed(displacement);
  if (base < 0 && index < 0) return () => fixed;
  if (index < 0) {
    return ({ state }) => {
      const offset = state.signedGpr(base);
      return offset < EXACT && offset > -EXACT ? offset + fixed : signed((state.gprs[base] as bigint) + displacement);
    };
  }
  return ({ state }) => {
    const a = base < 0 ? 0 : state.signedGpr(base);
    const b = state.signedGpr(index) * scale;
    if (Math.abs(a) < EXACT && Math.abs(b) < EXACT) return a + b + fixed;
    const exact = base < 0 ? 0n : (state.gprs[base] as bigint);
    return signed(exact + (state.gprs[index] as bigint) * BigInt(scale) + displacement);
  };
}

/** @param size bytes that are accessed, for limits of segments. */
export function addressOf(insn: Insn, operand: MemoryOperand, size: number): Address {
  const offset = offsetOf(operand);
  const { segment } = operand;
  const plain = insn.bits === 64 && segment !== 'fs' && segment !== 'gs' && segment !== 'ss';
  if (plain) return offset;
  return (m, write) => segmented(m, segment, offset(m), size, write);
}

/** LEA: no segment, no check. */
export const effectiveAddress = (operand: MemoryOperand): ((m: Machine) => number) => offsetOf(operand);

abstract class MemoryPlace implements Place {
  protected linear = 0;
  readonly #address: Address;
  readonly #size: number;

  constructor(address: Address, size: number) {
    this.#address = address;
    this.#size = size;
  }

  protected abstract get(m: Machine): number;
  protected abstract put(m: Machine, value: number): void;

  read(m: Machine): number {
    this.linear = this.#address(m, false);
    return this.get(m);
  }

  readForWrite(m: Machine): number {
    this.linear = this.#address(m, true);
    m.probeWrite(this.linear, this.#size);
    return this.get(m);
  }

  write(m: Machine, value: number): void {
    this.linear = this.#address(m, true);
    this.put(m, value);
  }

  writeBack(m: Machine, value: number): void {
    this.put(m, value);
  }
}

class Memory8 extends MemoryPlace {
  protected get(m: Machine): number {
    return m.read8(this.linear);
  }
  protected put(m: Machine, value: number): void {
    m.write8(this.linear, value);
  }
}

class Memory16 extends MemoryPlace {
  protected get(m: Machine): number {
    return m.read16(this.linear);
  }
  protected put(m: Machine, value: number): void {
    m.write16(this.linear, value);
  }
}

class Memory32 extends MemoryPlace {
  protected get(m: Machine): number {
    return m.read32(this.linear);
  }
  protected put(m: Machine, value: number): void {
    m.write32(this.linear, value);
  }
}

class Memory64 implements Place64 {
  #linear = 0;
  readonly #address: Address;

  constructor(address: Address) {
    this.#address = address;
  }

  load(m: Machine): void {
    m.read64(this.#address(m, false));
  }

  loadForWrite(m: Machine): void {
    this.#linear = this.#address(m, true);
    m.probeWrite(this.#linear, 8);
    m.read64(this.#linear);
  }

  store(m: Machine, lo: number, hi: number): void {
    m.write64(this.#address(m, true), lo, hi);
  }

  storeBack(m: Machine, lo: number, hi: number): void {
    m.write64(this.#linear, lo, hi);
  }
}

const register = (read: (m: Machine) => number, write: (m: Machine, value: number) => void): Place => ({
  read,
  readForWrite: read,
  write,
  writeBack: write,
});

function register8(at: number): Place {
  return register(
    (m) => m.state.r8[at] as number,
    (m, value) => {
      m.state.r8[at] = value;
    },
  );
}

function register16(n: number): Place {
  return register(
    (m) => m.state.r16[4 * n] as number,
    (m, value) => {
      m.state.r16[4 * n] = value;
    },
  );
}

/** Writing 32 bits clears the upper half. */
function register32(n: number): Place {
  return register(
    (m) => m.state.r32[2 * n] as number,
    (m, value) => {
      m.state.r32[2 * n] = value;
      m.state.r32[2 * n + 1] = 0;
    },
  );
}

function register64(n: number): Place64 {
  const load = (m: Machine): void => {
    m.lo = m.state.r32[2 * n] as number;
    m.hi = m.state.r32[2 * n + 1] as number;
  };
  const store = (m: Machine, lo: number, hi: number): void => {
    m.state.r32[2 * n] = lo;
    m.state.r32[2 * n + 1] = hi;
  };
  return { load, loadForWrite: load, store, storeBack: store };
}

const notWritten = (): never => {
  throw new Error('an immediate is never written');
};

function constant(value: number): Place {
  const read = (): number => value;
  return { read, readForWrite: read, write: notWritten, writeBack: notWritten };
}

/** Bits of an operand; undefined where the operand alone does not say. */
export function bitsOf(operand: Operand | undefined): number | undefined {
  if (operand?.kind === 'reg') return operand.bits;
  if (operand?.kind === 'memory' && operand.size > 0) return operand.size * 8;
  return undefined;
}

export function gprPlace(n: number, bits: number, highByte = false): Place {
  if (bits === 8) return register8(highByte ? 8 * n + 1 : 8 * n);
  return bits === 16 ? register16(n) : register32(n);
}

export const gprPlace64 = register64;

const NARROW = { 8: (value: bigint) => Number(value & 0xffn), 16: (value: bigint) => Number(value & 0xffffn) };

/** The operand as 8, 16 or 32 bits. @throws Stuck for an operand of another kind. */
export function placeOf(insn: Insn, operand: Operand | undefined, bits: number): Place {
  if (operand?.kind === 'reg' && operand.file === 'gpr') return gprPlace(operand.number, bits, operand.highByte);
  if (operand?.kind === 'immediate') {
    const narrow = NARROW[bits as 8 | 16];
    return constant(narrow?.(operand.value) ?? Number(BigInt.asIntN(32, operand.value)));
  }
  if (operand?.kind !== 'memory') throw new Stuck('operands of this kind');
  const address = addressOf(insn, operand, bits / 8);
  if (bits === 8) return new Memory8(address, 1);
  return bits === 16 ? new Memory16(address, 2) : new Memory32(address, 4);
}

export function place64Of(insn: Insn, operand: Operand | undefined): Place64 {
  if (operand?.kind === 'reg' && operand.file === 'gpr') return register64(operand.number);
  if (operand?.kind === 'memory') return new Memory64(addressOf(insn, operand, 8));
  if (operand?.kind !== 'immediate') throw new Stuck('operands of this kind');
  const lo = Number(BigInt.asIntN(32, operand.value));
  const hi = Number(BigInt.asIntN(32, operand.value >> 32n));
  const load = (m: Machine): void => {
    m.lo = lo;
    m.hi = hi;
  };
  return { load, loadForWrite: load, store: notWritten, storeBack: notWritten };
}
