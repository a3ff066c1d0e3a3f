import { KvmStateError } from '../../../kvm/errors.js';
import type { GuestMemfd, GuestMemory } from '../../../kvm/memory.js';
import type { KernelGuestMemfd } from '../guest-memfd.js';
import type { Task } from '../user.js';
import { bytes, integer, rangeError } from './check.js';
import { demandOpen, issue } from './issue.js';

const PAGE = 4096;
const CHUNK = 65_536;

/** The modelled process: where its memory lies, and whether a signal waits for it. */
export class MockProcess implements Task {
  readonly #memories = new Set<MockGuestMemory>();
  #next = 0x7e00_0000_0000n;

  /** Nothing in JavaScript waits for a signal. */
  signalPending(): boolean {
    return false;
  }

  page(address: bigint): Uint8Array | undefined {
    for (const memory of this.#memories)
      if (memory.address <= address && address < memory.address + BigInt(memory.size))
        return memory.page(Number(address - memory.address));
    return undefined;
  }

  /** mmap(): memory with an address of its own and an unmapped page behind it. */
  map(size: number): MockGuestMemory {
    const memory = new MockGuestMemory(size, this.#next, () => this.#memories.delete(memory));
    this.#next += BigInt(size + PAGE);
    this.#memories.add(memory);
    return memory;
  }

  /** Where memory of this process lies. @throws KvmStateError for memory of another system. */
  addressOf(memory: GuestMemory, name: string): bigint {
    if (memory.closed) demandOpen('memory', true);
    if (memory instanceof MockGuestMemory && this.#memories.has(memory)) return memory.address;
    throw new KvmStateError('ERR_KVM_FOREIGN_OBJECT', `${name} belongs to another system`);
  }

  unmapAll(): void {
    for (const memory of [...this.#memories]) memory.close();
  }
}

/** Memory of the modelled process. Only what is touched takes up memory of the real one. */
export class MockGuestMemory implements GuestMemory {
  readonly #chunks = new Map<number, Uint8Array>();
  #closed = false;

  constructor(
    readonly size: number,
    /** Where it lies in the modelled process. */
    readonly address: bigint,
    private readonly unmap: () => void,
  ) {}

  get closed(): boolean {
    return this.#closed;
  }

  #chunk(index: number): Uint8Array {
    let chunk = this.#chunks.get(index);
    if (!chunk) {
      chunk = new Uint8Array(Math.min(CHUNK, this.size - index * CHUNK));
      this.#chunks.set(index, chunk);
    }
    return chunk;
  }

  /** The live bytes of the page at a page-aligned offset. */
  page(offset: number): Uint8Array {
    const start = offset % CHUNK;
    return this.#chunk(Math.floor(offset / CHUNK)).subarray(start, start + PAGE);
  }

  #checkRange(offset: number, length: number): void {
    demandOpen('memory', this.#closed);
    integer('offset', offset);
    integer('length', length);
    if (offset + length > this.size) throw rangeError('offset + length', `at most ${this.size}`, offset + length);
  }

  /** Calls `each` with the part of every chunk that [offset, offset + length) touches. */
  #parts(offset: number, length: number, each: (index: number, start: number, end: number, at: number) => void): void {
    for (let at = 0; at < length; ) {
      const index = Math.floor((offset + at) / CHUNK);
      const start = (offset + at) % CHUNK;
      const end = Math.min(CHUNK, start + length - at);
      each(index, start, end, at);
      at += end - start;
    }
  }

  read(offset: number, length: number): Uint8Array {
    this.#checkRange(offset, length);
    const result = new Uint8Array(length);
    this.#parts(offset, length, (index, start, end, at) => {
      const chunk = this.#chunks.get(index);
      if (chunk) result.set(chunk.subarray(start, end), at);
    });
    return result;
  }

  write(offset: number, data: Uint8Array): void {
    bytes('bytes', data);
    this.#checkRange(offset, data.length);
    this.#parts(offset, data.length, (index, start, end, at) =>
      this.#chunk(index).set(data.subarray(at, at + end - start), start),
    );
  }

  discard(offset: number, length: number): void {
    this.#checkRange(offset, length);
    if (offset % PAGE !== 0) throw rangeError('offset', `a multiple of ${PAGE}`, offset);
    if (length % PAGE !== 0) throw rangeError('length', `a multiple of ${PAGE}`, length);
    // Zeroed in place: a TDX module or a guest may be looking at these very bytes.
    this.#parts(offset, length, (index, start, end) => this.#chunks.get(index)?.fill(0, start, end));
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#chunks.clear();
    this.unmap();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

export class MockGuestMemfd implements GuestMemfd {
  constructor(
    readonly size: number,
    /** For the model only. */
    readonly kernel: KernelGuestMemfd,
  ) {}

  get closed(): boolean {
    return !this.kernel.open;
  }

  punchHole(offset: number, length: number): void {
    demandOpen('guest_memfd', this.closed);
    const hole = [BigInt(integer('offset', offset)), BigInt(integer('length', length))] as const;
    issue(
      'FALLOC_FL_PUNCH_HOLE',
      () => this.kernel.punchHole(...hole),
      () => ({ syscall: 'fallocate' }),
    );
  }

  close(): void {
    this.kernel.release();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
