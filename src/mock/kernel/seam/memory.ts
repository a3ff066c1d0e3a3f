import { integer } from '../../../kvm/check.js';
import { discardRange, readRange, writeRange } from '../../../kvm/check-memory.js';
import { KvmStateError } from '../../../kvm/errors.js';
import type { GuestMemfd, GuestMemory } from '../../../kvm/memory.js';
import type { KernelGuestMemfd } from '../guest-memfd.js';
import { Refusal } from '../refusal.js';
import type { Task } from '../user.js';
import { demandOpen, issue, kvmError } from './issue.js';

const PAGE = 4096;
const CHUNK = 65_536;
/** TASK_SIZE_MAX with 4-level page tables. */
const USER_END = 1n << 47n;

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

  readUser(address: bigint, length: number): Uint8Array | undefined {
    const start = Number(address % BigInt(PAGE));
    return this.page(address - BigInt(start))?.slice(start, start + length);
  }

  writeUser(address: bigint, bytes: Uint8Array): boolean {
    const start = Number(address % BigInt(PAGE));
    const page = this.page(address - BigInt(start));
    page?.set(bytes, start);
    return page !== undefined;
  }

  /** mmap(): memory with an address of its own and an unmapped page behind it. @throws KvmError ENOMEM. */
  map(size: number): MockGuestMemory {
    if (this.#next + BigInt(size) > USER_END) {
      throw kvmError('guest memory', new Refusal('kvm.user-address-space'), { syscall: 'mmap' });
    }
    const memory = new MockGuestMemory(size, this.#next, this);
    this.#next += BigInt(size + PAGE);
    this.#memories.add(memory);
    return memory;
  }

  /** munmap(). */
  unmap(memory: MockGuestMemory): void {
    this.#memories.delete(memory);
  }

  /** Where memory of this process lies. @throws KvmStateError for memory of another system, and for closed memory. */
  addressOf(memory: MockGuestMemory, name: string): bigint {
    if (memory.owner !== this) throw new KvmStateError('ERR_KVM_FOREIGN_OBJECT', `${name} belongs to another system`);
    demandOpen('memory', memory.closed);
    return memory.address;
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
    /** Whose memory it is. */
    readonly owner: MockProcess,
  ) {}

  static made(value: object): value is MockGuestMemory {
    return #chunks in value;
  }

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
    readRange(this, offset, length);
    demandOpen('memory', this.#closed);
    const result = new Uint8Array(length);
    this.#parts(offset, length, (index, start, end, at) => {
      const chunk = this.#chunks.get(index);
      if (chunk) result.set(chunk.subarray(start, end), at);
    });
    return result;
  }

  write(offset: number, data: Uint8Array): void {
    writeRange(this, offset, data);
    demandOpen('memory', this.#closed);
    this.#parts(offset, data.length, (index, start, end, at) =>
      this.#chunk(index).set(data.subarray(at, at + end - start), start),
    );
  }

  discard(offset: number, length: number): void {
    discardRange(this, offset, length);
    demandOpen('memory', this.#closed);
    // Zeroed in place: a TDX module or a guest may be looking at these very bytes.
    this.#parts(offset, length, (index, start, end) => this.#chunks.get(index)?.fill(0, start, end));
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#chunks.clear();
    this.owner.unmap(this);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

export class MockGuestMemfd implements GuestMemfd {
  readonly #kernel: KernelGuestMemfd;

  constructor(
    readonly size: number,
    kernel: KernelGuestMemfd,
  ) {
    this.#kernel = kernel;
  }

  static made(value: object): value is MockGuestMemfd {
    return #kernel in value;
  }

  /** For the model only. */
  get kernel(): KernelGuestMemfd {
    return this.#kernel;
  }

  get closed(): boolean {
    return !this.kernel.open;
  }

  punchHole(offset: number, length: number): void {
    const hole = [BigInt(integer('offset', offset)), BigInt(integer('length', length))] as const;
    demandOpen('guest_memfd', this.closed);
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
