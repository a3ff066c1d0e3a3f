import { VECTOR } from '../cpu/bits.js';
import { EptViolation, GuestFault, Stuck } from '../cpu/fault.js';
import { readLinear, writeLinear } from '../cpu/linear-memory.js';
import { isCanonical, translate } from '../cpu/paging.js';
import type { LivePage, PhysicalMemory } from '../cpu/physical-memory.js';
import { type CpuState, unsigned } from '../cpu/state.js';
import type { Access } from '../engine.js';
import { CodeCache, cacheOf, codeWritten, type Op } from './code-cache.js';
import { Tlb } from './tlb.js';

const PAGE_SIZE = 0x1000;
const OFFSET = PAGE_SIZE - 1;
const NO_CODE = new CodeCache(Number.NaN, 0);

/**
 * A processor at work: its registers, its memory by linear address with a TLB in front, and where it reads instructions.
 * Values of 8 and 16 bits are unsigned numbers, of 32 bits signed ones (small integers to V8), and 64-bit ones two signed
 * halves: those that were loaded last are in `lo` and `hi`.
 */
export class Machine {
  readonly state: CpuState;
  readonly memory: PhysicalMemory;
  lo = 0;
  hi = 0;
  /** IP of the instruction after this one; branches change it. */
  next = 0;
  /** The instruction being executed; undefined while one is fetched. */
  op: Op | undefined;
  code: CodeCache = NO_CODE;
  readonly #reads = new Tlb();
  readonly #writes = new Tlb();
  readonly #fetches = new Tlb();
  readonly #scratch = new DataView(new ArrayBuffer(8));
  readonly #scratchBytes = new Uint8Array(this.#scratch.buffer);

  constructor(state: CpuState, memory: PhysicalMemory) {
    this.state = state;
    this.memory = memory;
  }

  /** After anything that changes what linear addresses mean: CR0, CR3, CR4, CPL, EFLAGS.AC, the memory behind. */
  flush(): void {
    this.#reads.flush();
    this.#writes.flush();
    this.#fetches.flush();
    this.code = NO_CODE;
  }

  /** After CS changed. */
  forgetCode(): void {
    this.code = NO_CODE;
  }

  /** Width of the code segment. */
  get bits(): number {
    const { state } = this;
    return state.in64 ? 64 : state.cs.big ? 32 : 16;
  }

  #physical(linear: number, access: Access): number {
    const at = this.state.longActive ? linear : linear >>> 0;
    if (!isCanonical(at)) throw new GuestFault(VECTOR.GP, 0);
    return translate(this.state, this.memory, at, access);
  }

  #readable(linear: number): LivePage | undefined {
    const page = this.memory.page?.(this.#physical(linear, 'read'));
    if (page !== undefined) this.#reads.add(Math.floor(linear / PAGE_SIZE), page);
    return page;
  }

  #writable(linear: number): LivePage | undefined {
    const page = this.memory.page?.(this.#physical(linear, 'write'));
    if (page !== undefined) this.#writes.add(Math.floor(linear / PAGE_SIZE), page);
    return page;
  }

  #slowRead(linear: number, size: number): DataView {
    const crosses = (linear & OFFSET) + size > PAGE_SIZE;
    const page = crosses ? undefined : this.#readable(linear);
    const bytes = page?.bytes.subarray(linear & OFFSET, (linear & OFFSET) + size) ?? this.readBytes(linear, size);
    this.#scratchBytes.set(bytes);
    return this.#scratch;
  }

  #slowWrite(linear: number, size: number): void {
    const bytes = this.#scratchBytes.subarray(0, size);
    const offset = linear & OFFSET;
    const page = offset + size > PAGE_SIZE ? undefined : this.#writable(linear);
    if (page === undefined) {
      this.writeBytes(linear, bytes.slice());
    } else {
      page.bytes.set(bytes, offset);
      codeWritten(page, offset, size);
    }
  }

  readBytes(linear: number, length: number): Uint8Array {
    return readLinear(this.state, this.memory, linear, length);
  }

  writeBytes(linear: number, bytes: Uint8Array): void {
    writeLinear(this.state, this.memory, linear, bytes);
  }

  read8(linear: number): number {
    const page = this.#reads.find(Math.floor(linear / PAGE_SIZE));
    if (page !== undefined) return page.bytes[linear & OFFSET] as number;
    return this.#slowRead(linear, 1).getUint8(0);
  }

  read16(linear: number): number {
    const offset = linear & OFFSET;
    const page = this.#reads.find(Math.floor(linear / PAGE_SIZE));
    if (page !== undefined && offset <= PAGE_SIZE - 2) return page.view.getUint16(offset, true);
    return this.#slowRead(linear, 2).getUint16(0, true);
  }

  read32(linear: number): number {
    const offset = linear & OFFSET;
    const page = this.#reads.find(Math.floor(linear / PAGE_SIZE));
    if (page !== undefined && offset <= PAGE_SIZE - 4) return page.view.getInt32(offset, true);
    return this.#slowRead(linear, 4).getInt32(0, true);
  }

  /** Into `lo` and `hi`. */
  read64(linear: number): void {
    const offset = linear & OFFSET;
    const page = this.#reads.find(Math.floor(linear / PAGE_SIZE));
    const fast = page !== undefined && offset <= PAGE_SIZE - 8;
    const view = fast ? page.view : this.#slowRead(linear, 8);
    const at = fast ? offset : 0;
    this.lo = view.getInt32(at, true);
    this.hi = view.getInt32(at + 4, true);
  }

  write8(linear: number, value: number): void {
    const page = this.#writes.find(Math.floor(linear / PAGE_SIZE));
    if (page === undefined) {
      this.#scratch.setUint8(0, value);
      this.#slowWrite(linear, 1);
      return;
    }
    page.bytes[linear & OFFSET] = value;
    if (page.code !== undefined) codeWritten(page, linear & OFFSET, 1);
  }

  write16(linear: number, value: number): void {
    const offset = linear & OFFSET;
    const page = this.#writes.find(Math.floor(linear / PAGE_SIZE));
    if (page === undefined || offset > PAGE_SIZE - 2) {
      this.#scratch.setUint16(0, value, true);
      this.#slowWrite(linear, 2);
      return;
    }
    page.view.setUint16(offset, value, true);
    if (page.code !== undefined) codeWritten(page, offset, 2);
  }

  write32(linear: number, value: number): void {
    const offset = linear & OFFSET;
    const page = this.#writes.find(Math.floor(linear / PAGE_SIZE));
    if (page === undefined || offset > PAGE_SIZE - 4) {
      this.#scratch.setInt32(0, value, true);
      this.#slowWrite(linear, 4);
      return;
    }
    page.view.setInt32(offset, value, true);
    if (page.code !== undefined) codeWritten(page, offset, 4);
  }

  write64(linear: number, lo: number, hi: number): void {
    const offset = linear & OFFSET;
    const page = this.#writes.find(Math.floor(linear / PAGE_SIZE));
    if (page === undefined || offset > PAGE_SIZE - 8) {
      this.#scratch.setInt32(0, lo, true);
      this.#scratch.setInt32(4, hi, true);
      this.#slowWrite(linear, 8);
      return;
    }
    page.view.setInt32(offset, lo, true);
    page.view.setInt32(offset + 4, hi, true);
    if (page.code !== undefined) codeWritten(page, offset, 8);
  }

  /** Faults as a write would, before the value that is to be changed is read. */
  probeWrite(linear: number, size: number): void {
    if (this.#writes.find(Math.floor(linear / PAGE_SIZE)) !== undefined && (linear & OFFSET) + size <= PAGE_SIZE)
      return;
    this.#writable(linear);
    if ((linear & OFFSET) + size > PAGE_SIZE) this.#writable(linear + size - 1);
  }

  /** The page of instructions at a linear address; undefined where the memory has no pages that can be used in place. */
  codePage(linear: number): LivePage | undefined {
    const number = Math.floor(linear / PAGE_SIZE);
    const known = this.#fetches.find(number);
    if (known !== undefined) return known;
    const page = this.memory.page?.(this.#executable(linear));
    if (page !== undefined) this.#fetches.add(number, page);
    return page;
  }

  /** Bytes of instructions at a linear address, up to the end of its page. */
  codeBytes(linear: number): Uint8Array {
    const page = this.codePage(linear);
    if (page !== undefined) return page.bytes.subarray(linear & OFFSET);
    const gpa = this.#executable(linear);
    const bytes = this.memory.read(gpa, Math.min(15, PAGE_SIZE - (gpa % PAGE_SIZE)));
    if (bytes === undefined) throw new EptViolation(gpa, unsigned(linear), 'execute');
    return bytes;
  }

  #executable(linear: number): number {
    const gpa = this.#physical(linear, 'execute');
    if (this.memory.executable?.(gpa) === false) throw new Stuck('code in shared memory, which a TD cannot execute');
    return gpa;
  }

  /** Makes the decoded instructions of this page the current ones. */
  enter(linear: number, page: LivePage): CodeCache {
    this.code = cacheOf(page, Math.floor(linear / PAGE_SIZE), this.bits);
    return this.code;
  }
}
