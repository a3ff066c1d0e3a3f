import { discardRange, readRange, writeRange } from '../kvm/check-memory.js';
import type { GuestMemfd, GuestMemory } from '../kvm/memory.js';
import type { GuestMemfdHandle, GuestMemoryHandle } from './addon.js';

export class NativeGuestMemory implements GuestMemory {
  readonly size: number;
  readonly #handle: GuestMemoryHandle;
  /** Held, because a collected system closes its memory. */
  readonly parent: object;

  constructor(handle: GuestMemoryHandle, size: number, parent: object) {
    this.#handle = handle;
    this.size = size;
    this.parent = parent;
  }

  static made(value: object): value is NativeGuestMemory {
    return #handle in value;
  }

  /** For this folder only. */
  get handle(): GuestMemoryHandle {
    return this.#handle;
  }

  get closed(): boolean {
    return this.#handle.isClosed();
  }

  read(offset: number, length: number): Uint8Array {
    readRange(this, offset, length);
    const bytes = new Uint8Array(length);
    this.#handle.read(offset, bytes);
    return bytes;
  }

  write(offset: number, bytes: Uint8Array): void {
    writeRange(this, offset, bytes);
    this.#handle.write(offset, bytes);
  }

  discard(offset: number, length: number): void {
    discardRange(this, offset, length);
    this.#handle.discard(offset, length);
  }

  close(): void {
    this.#handle.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

export class NativeGuestMemfd implements GuestMemfd {
  readonly size: number;
  readonly #handle: GuestMemfdHandle;
  /** Held, because a collected VM closes its guest_memfds. */
  readonly parent: object;

  constructor(handle: GuestMemfdHandle, size: number, parent: object) {
    this.#handle = handle;
    this.size = size;
    this.parent = parent;
  }

  static made(value: object): value is NativeGuestMemfd {
    return #handle in value;
  }

  /** For this folder only. */
  get handle(): GuestMemfdHandle {
    return this.#handle;
  }

  get closed(): boolean {
    return this.#handle.isClosed();
  }

  punchHole(offset: number, length: number): void {
    this.#handle.punchHole(offset, length);
  }

  close(): void {
    this.#handle.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
