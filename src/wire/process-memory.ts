import { closeSync, openSync, readFileSync, readSync, writeSync } from 'node:fs';
import type { Task } from '../mock/kernel/user.js';
import { Mappings } from './mappings.js';

const PAGE = 4096;
/** No process maps its first pages (vm.mmap_min_addr). */
const NEVER_MAPPED = 4096n;

type Transfer = (file: number, data: Uint8Array, offset: number, length: number, position: number) => number;

/**
 * A program that uses the model, as the kernel storey needs it: its memory, through /proc/PID/mem. It stands for one
 * address space: after exec() the same process is another one.
 */
export class ProcessTask implements Task {
  #file: number | undefined;
  readonly #mappings: Mappings;
  #closed = false;

  constructor(
    readonly pid: number,
    private readonly folder = '/proc',
  ) {
    this.#mappings = new Mappings(`${folder}/${pid}/maps`);
    this.#open();
  }

  /** Where the system does not let us (other user, no dumpable process), the program has no memory for the model. */
  #open(): void {
    for (const mode of ['r+', 'r'] as const) {
      try {
        this.#file = openSync(`${this.folder}/${this.pid}/mem`, mode);
        return;
      } catch {
        // The next mode, or none.
      }
    }
  }

  /** Why its memory cannot be reached, for the trace; undefined where it can. */
  get unreachable(): string | undefined {
    return this.#file === undefined ? `/proc/${this.pid}/mem cannot be opened` : undefined;
  }

  /** Whether its address space still exists: reading there fails, reading where there is none any more ends. */
  get alive(): boolean {
    if (this.#file === undefined) return !this.#closed;
    try {
      readSync(this.#file, new Uint8Array(1), 0, 1, NEVER_MAPPED);
      return false;
    } catch {
      return true;
    }
  }

  /** copy_from_user(): undefined unless all of it is mapped. */
  readUser(address: bigint, length: number): Uint8Array | undefined {
    const data = new Uint8Array(length);
    return this.#transfer(address, data, 'readable', readSync) ? data : undefined;
  }

  /** copy_to_user(): false unless all of it is mapped for writing. */
  writeUser(address: bigint, data: Uint8Array): boolean {
    return this.#transfer(address, data, 'writable', writeSync);
  }

  #transfer(address: bigint, data: Uint8Array, access: 'readable' | 'writable', by: Transfer): boolean {
    if (this.#file === undefined || address < 0n || address + BigInt(data.length) > 1n << 47n) return false;
    if (!this.#mappings.allow(Number(address), data.length, access)) return false;
    try {
      for (let at = 0; at < data.length; ) {
        const done = by(this.#file, data, at, data.length - at, Number(address) + at);
        if (done === 0) return false;
        at += done;
      }
      return true;
    } catch {
      return false;
    }
  }

  page(address: bigint): Uint8Array | undefined {
    return this.readUser(address, PAGE);
  }

  /** A new request: since the last one the program may have changed what it may do with its memory. */
  beginRequest(): void {
    this.#mappings.forget();
  }

  /** Which eventfd a descriptor is: its number in the kernel; 'foreign' for another file, undefined where none is open. */
  eventfd(fd: number): string | undefined {
    try {
      const info = readFileSync(`${this.folder}/${this.pid}/fdinfo/${fd}`, 'latin1');
      return /^eventfd-id:\s*(\d+)/m.exec(info)?.[1] ?? 'foreign';
    } catch {
      return undefined;
    }
  }

  /** Signals end KVM_RUN only; the client says so itself. */
  signalPending(): boolean {
    return false;
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
    this.#closed = true;
  }
}

/** The programs that use a server, by process id. */
export class Processes {
  readonly #tasks = new Map<number, ProcessTask>();

  /** The process as it is now: a new one after exec(), or where its number was used again. */
  of(pid: number): ProcessTask {
    const known = this.#tasks.get(pid);
    if (known?.alive) return known;
    this.#sweep();
    const task = new ProcessTask(pid);
    this.#tasks.set(pid, task);
    return task;
  }

  /** Lets go of processes that are gone. */
  #sweep(): void {
    for (const [pid, task] of this.#tasks) {
      if (task.alive) continue;
      task.close();
      this.#tasks.delete(pid);
    }
  }

  close(): void {
    for (const task of this.#tasks.values()) task.close();
    this.#tasks.clear();
  }
}
