import type { LivePage } from '../cpu/physical-memory.js';

// As many as the second-level TLBs of processors have.
const SLOTS = 2048;

/** Translations of one kind of access: page numbers to pages whose bytes can be used in place. Direct-mapped. */
export class Tlb {
  readonly #numbers = new Float64Array(SLOTS).fill(Number.NaN);
  readonly #pages: (LivePage | undefined)[] = new Array(SLOTS).fill(undefined);

  find(number: number): LivePage | undefined {
    const slot = number & (SLOTS - 1);
    return this.#numbers[slot] === number ? this.#pages[slot] : undefined;
  }

  add(number: number, page: LivePage): void {
    const slot = number & (SLOTS - 1);
    this.#numbers[slot] = number;
    this.#pages[slot] = page;
  }

  flush(): void {
    this.#numbers.fill(Number.NaN);
    this.#pages.fill(undefined);
  }
}
