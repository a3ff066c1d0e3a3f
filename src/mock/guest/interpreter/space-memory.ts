import { type LivePage, livePage, type PhysicalMemory } from '../cpu/physical-memory.js';
import type { GuestSpace } from '../engine.js';
import { codeWritten } from './code-cache.js';

const PAGE_SIZE = 0x1000;

/** A TD's memory: private pages in place, shared memory through the host. */
export class SpaceMemory implements PhysicalMemory {
  readonly #space: GuestSpace;
  readonly #pages: Map<number, LivePage> = new Map();
  /** Rises whenever pages appear or go: what was remembered of them is not valid any more. */
  generation = 0;
  /** The guest's time-stamp counter, where the space has one. */
  readonly tsc: (() => bigint) | undefined;

  constructor(space: GuestSpace) {
    this.#space = space;
    this.tsc = space.tsc && (() => space.tsc!());
  }

  #isShared(gpa: number): boolean {
    return Math.floor(gpa / this.#space.sharedBit) % 2 === 1;
  }

  page(gpa: number): LivePage | undefined {
    const number = Math.floor(gpa / PAGE_SIZE);
    const known = this.#pages.get(number);
    if (known !== undefined) return known;
    if (this.#isShared(gpa)) return undefined;
    const found = this.#space.privatePage(number * PAGE_SIZE);
    if (found.state !== 'mapped') return undefined;
    const page = livePage(found.bytes);
    this.#pages.set(number, page);
    return page;
  }

  /** A TD executes private memory only. */
  executable(gpa: number): boolean {
    return !this.#isShared(gpa);
  }

  read(gpa: number, length: number): Uint8Array | undefined {
    if (this.#isShared(gpa)) return this.#space.readShared(gpa - this.#space.sharedBit, length);
    const offset = gpa % PAGE_SIZE;
    return this.page(gpa)?.bytes.slice(offset, offset + length);
  }

  write(gpa: number, bytes: Uint8Array): boolean {
    if (this.#isShared(gpa)) return this.#space.writeShared(gpa - this.#space.sharedBit, bytes);
    const page = this.page(gpa);
    if (page === undefined) return false;
    const offset = gpa % PAGE_SIZE;
    page.bytes.set(bytes, offset);
    codeWritten(page, offset, bytes.length);
    return true;
  }

  /** [gpa, gpa + size) became another memory. */
  changed(gpa: number, size: number): void {
    this.generation++;
    const first = Math.floor(gpa / PAGE_SIZE);
    const end = Math.ceil((gpa + size) / PAGE_SIZE);
    if (end - first > this.#pages.size) {
      for (const number of this.#pages.keys()) if (number >= first && number < end) this.#pages.delete(number);
    } else {
      for (let number = first; number < end; number++) this.#pages.delete(number);
    }
  }
}
