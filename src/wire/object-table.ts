import type { WireObject } from './objects.js';

interface Entry {
  readonly object: WireObject;
  /** It has descriptors. */
  open: boolean;
  /** A connection stands for them; until then only the program that made it knows of it. */
  adopted: boolean;
  /** Calls under way: as in the kernel, a file lives until they return. */
  calls: number;
}

/** The objects behind the descriptors of all programs, by the ids that the programs chose. */
export class ObjectTable {
  readonly #entries = new Map<bigint, Entry>();
  #emptied: (() => void) | undefined;

  get size(): number {
    return this.#entries.size;
  }

  has(id: bigint): boolean {
    return this.#entries.has(id);
  }

  /** The object of an open descriptor. */
  find(id: bigint): WireObject | undefined {
    const entry = this.#entries.get(id);
    return entry?.open ? entry.object : undefined;
  }

  add(id: bigint, object: WireObject): void {
    this.#entries.set(id, { object, open: true, adopted: false, calls: 0 });
  }

  adopt(id: bigint): void {
    const entry = this.#entries.get(id);
    if (entry) entry.adopted = true;
  }

  /** Releases what a program asked for and never took over. */
  dropUnadopted(id: bigint): void {
    if (this.#entries.get(id)?.adopted === false) this.close(id);
  }

  /** Runs a call on an object, which lives until the call is over. */
  async during<T>(id: bigint, body: (object: WireObject | undefined) => T | Promise<T>): Promise<T> {
    const entry = this.#entries.get(id);
    if (!entry?.open) return body(undefined);
    entry.calls++;
    try {
      return await body(entry.object);
    } finally {
      entry.calls--;
      this.#releaseUnused(id, entry);
    }
  }

  /** The last descriptor was closed. */
  close(id: bigint): void {
    const entry = this.#entries.get(id);
    if (!entry?.open) return;
    entry.open = false;
    this.#releaseUnused(id, entry);
  }

  #releaseUnused(id: bigint, entry: Entry): void {
    if (entry.open || entry.calls > 0) return;
    if (!this.#entries.delete(id)) return;
    entry.object.release();
    if (this.#entries.size === 0) this.#emptied?.();
  }

  /** Closes every descriptor and waits for the calls that hold objects; whoever calls has interrupted them. */
  async closeAll(): Promise<void> {
    for (const id of [...this.#entries.keys()]) this.close(id);
    if (this.#entries.size > 0) await new Promise<void>((resolve) => (this.#emptied = resolve));
  }
}
