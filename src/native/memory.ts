import { KvmStateError } from '../kvm/errors.js';
import type { GuestMemfd, GuestMemory } from '../kvm/memory.js';
import type { GuestMemfdHandle, GuestMemoryHandle } from './addon.js';
import { integer, record } from './check.js';

export class NativeGuestMemory implements GuestMemory {
  readonly size: number;
  /** For this folder only. */
  readonly handle: GuestMemoryHandle;
  /** Held, because a collected system closes its memory. */
  readonly parent: object;

  constructor(handle: GuestMemoryHandle, size: number, parent: object) {
    this.handle = handle;
    this.size = size;
    this.parent = parent;
  }

  get closed(): boolean {
    return this.handle.isClosed();
  }

  read(offset: number, length: number): Uint8Array {
    // Before the allocation: a wrong length is then a RangeError about the memory, not about arrays.
    if (integer('length', length) > this.size) {
      throw new RangeError(`length ${length} is more than the memory's ${this.size} bytes`);
    }
    const bytes = new Uint8Array(length);
    this.handle.read(offset, bytes);
    return bytes;
  }

  write(offset: number, bytes: Uint8Array): void {
    this.handle.write(offset, bytes);
  }

  discard(offset: number, length: number): void {
    this.handle.discard(offset, length);
  }

  close(): void {
    this.handle.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

export class NativeGuestMemfd implements GuestMemfd {
  readonly size: number;
  /** For this folder only. */
  readonly handle: GuestMemfdHandle;
  /** Held, because a collected VM closes its guest_memfds. */
  readonly parent: object;

  constructor(handle: GuestMemfdHandle, size: number, parent: object) {
    this.handle = handle;
    this.size = size;
    this.parent = parent;
  }

  get closed(): boolean {
    return this.handle.isClosed();
  }

  punchHole(offset: number, length: number): void {
    this.handle.punchHole(offset, length);
  }

  close(): void {
    this.handle.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** The handle of an argument that must be memory of the native backend. The addon checks of which system. */
export function memoryHandle<Handle>(
  name: string,
  value: unknown,
  kind: new (...args: never[]) => { handle: Handle },
): Handle {
  if (value instanceof kind) return value.handle;
  const other = record(name, value);
  if (typeof other['size'] === 'number' && typeof other['close'] === 'function') {
    throw new KvmStateError('ERR_KVM_FOREIGN_OBJECT', `${name} belongs to another backend than this object`);
  }
  throw new TypeError(`${name} must be made by createMemory or createGuestMemfd of the same system`);
}
