import type { HostMemory } from '../module/seamcall.js';
import { Refusal } from './refusal.js';

const PAGE = 4096n;

/** Memory that the kernel may hand to TDX: the part of a TDMR that no PAMT occupies. Bytes. */
export interface ConvertibleRange {
  base: bigint;
  size: bigint;
}

/**
 * The modelled host's physical memory. Pages have addresses when they are allocated and bytes when they are touched;
 * pages of the process are lent an address while the TDX module reads them.
 */
export class PhysicalMemory implements HostMemory {
  readonly #pages = new Map<bigint, Uint8Array>();
  readonly #free: bigint[] = [];
  readonly #end: bigint;
  #next: bigint;
  #lent: bigint;
  #allocated = 0;

  /** @param lendingBase where pages of the process are lent addresses, outside `range`. */
  constructor(range: ConvertibleRange, lendingBase: bigint) {
    this.#next = range.base;
    this.#end = range.base + range.size;
    this.#lent = lendingBase;
  }

  /** Pages that are allocated now. */
  get allocatedPages(): number {
    return this.#allocated;
  }

  page(pa: bigint): Uint8Array {
    let bytes = this.#pages.get(pa);
    if (!bytes) {
      bytes = new Uint8Array(4096);
      this.#pages.set(pa, bytes);
    }
    return bytes;
  }

  /** alloc_page(): the physical address of a page. @throws Refusal ENOMEM. */
  alloc(): bigint {
    let pa = this.#free.pop();
    if (pa === undefined) {
      if (this.#next >= this.#end) throw new Refusal('kvm.no-memory');
      pa = this.#next;
      this.#next += PAGE;
    }
    this.#allocated++;
    return pa;
  }

  /** __free_page(). */
  free(pa: bigint): void {
    this.#pages.delete(pa);
    this.#free.push(pa);
    this.#allocated--;
  }

  /** Runs `use` while the page `bytes` of the process has a physical address. */
  lend<T>(bytes: Uint8Array, use: (pa: bigint) => T): T {
    const pa = this.#lent;
    this.#lent += PAGE;
    this.#pages.set(pa, bytes);
    try {
      return use(pa);
    } finally {
      this.#pages.delete(pa);
      this.#lent = pa;
    }
  }
}
