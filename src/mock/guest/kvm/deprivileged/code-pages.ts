import { PAGE_SIZE } from '../../../../kvm/constants.js';

/** How often a page may change between being executed and being written before it is both at once. */
const MOST_CHANGES = 6;

/**
 * Pages whose instructions have been looked at (see Discovery) before they were executed. Such a page is not writable until
 * the guest writes to it, and then not executable until it is executed again. By guest physical address.
 */
export class CodePages {
  readonly #code = new Set<number>();
  readonly #changes = new Map<number, number>();
  /** Rises when what vCPUs remember of the guest's memory may be wrong: all of them forget it then. */
  generation = 0;

  isCode(page: number): boolean {
    return this.#code.has(page);
  }

  isWritable(page: number): boolean {
    return !this.#code.has(page) || (this.#changes.get(page) ?? 0) >= MOST_CHANGES;
  }

  executed(page: number): void {
    this.#code.add(page);
  }

  /** @returns whether it was code. */
  written(page: number): boolean {
    if (!this.#code.has(page)) return false;
    const changes = (this.#changes.get(page) ?? 0) + 1;
    this.#changes.set(page, changes);
    if (changes < MOST_CHANGES) this.#code.delete(page);
    return true;
  }

  /** [start, end) has another content now. */
  forget(start: number, end: number): void {
    if ((end - start) / PAGE_SIZE > this.#code.size) {
      for (const page of this.#code) if (page >= start && page < end) this.#forget(page);
    } else {
      for (let page = start; page < end; page += PAGE_SIZE) this.#forget(page);
    }
  }

  #forget(page: number): void {
    if (this.#code.delete(page)) this.generation++;
  }
}
