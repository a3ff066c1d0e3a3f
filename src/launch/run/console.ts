import { ReadableStream } from 'node:stream/web';

export interface ConsoleLimits {
  /** Bytes that may wait for a reader before the vCPU that writes has to; default 1 MiB. */
  full?: number;
  /** Bytes that are kept while nobody reads, the last ones; default 16 MiB. */
  kept?: number;
}

/**
 * What a guest writes to its console, for whoever reads it.
 *
 * Nothing is lost for a reader that is there from the start: the guest waits for a slow one. While nobody reads, the guest
 * does not wait; the last ones are kept and {@link dropped} counts what is older.
 */
export class Console {
  readonly stream: ReadableStream<Uint8Array>;
  /** Bytes written so far. */
  total = 0;
  /** Bytes that nobody read in time. */
  dropped = 0;
  readonly #full: number;
  readonly #kept: number;
  readonly #chunks: Uint8Array[] = [];
  #waiting = 0;
  #state: 'open' | 'ended' | 'cancelled' = 'open';
  #hungry: (() => void) | undefined;
  #onRoom: (() => void)[] = [];

  /** @param limits bytes */
  constructor({ full = 1 << 20, kept = 16 << 20 }: ConsoleLimits = {}) {
    this.#full = full;
    this.#kept = kept;
    this.stream = new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          if (this.#waiting === 0 && this.#state === 'open') {
            await new Promise<void>((resolve) => {
              this.#hungry = resolve;
            });
          }
          if (this.#waiting > 0) controller.enqueue(this.#take());
          else if (this.#state === 'ended') controller.close();
        },
        cancel: () => {
          this.#state = 'cancelled';
          this.#take();
          this.#wake();
        },
      },
      { highWaterMark: 0 },
    );
  }

  /** Whether the guest has to wait for the reader. */
  get full(): boolean {
    return this.#state === 'open' && this.stream.locked && this.#waiting >= this.#full;
  }

  write(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.total += bytes.length;
    if (this.#state !== 'open') return;
    this.#chunks.push(bytes);
    this.#waiting += bytes.length;
    this.#wake();
    while (!this.stream.locked && this.#waiting > this.#kept) this.#dropOldest();
  }

  /** Resolves when the console is no longer full, or has ended. */
  room(): Promise<void> {
    if (!this.full) return Promise.resolve();
    return new Promise((resolve) => this.#onRoom.push(resolve));
  }

  /** Lets those go on who wait for room, if there is some: a reader that lets go of the stream tells nobody. */
  resume(): void {
    if (!this.full) this.#releaseWaiters();
  }

  /** No more will be written; the stream ends when it is read. */
  end(): void {
    if (this.#state === 'open') this.#state = 'ended';
    this.#wake();
    this.#releaseWaiters();
  }

  #wake(): void {
    this.#hungry?.();
    this.#hungry = undefined;
  }

  #take(): Uint8Array {
    const bytes = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks);
    this.#chunks.length = 0;
    this.#waiting = 0;
    this.#releaseWaiters();
    return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  #dropOldest(): void {
    const excess = this.#waiting - this.#kept;
    const oldest = this.#chunks[0]!;
    const gone = Math.min(excess, oldest.length);
    if (gone === oldest.length) this.#chunks.shift();
    else this.#chunks[0] = oldest.subarray(gone);
    this.#waiting -= gone;
    this.dropped += gone;
  }

  #releaseWaiters(): void {
    for (const resolve of this.#onRoom.splice(0)) resolve();
  }
}
