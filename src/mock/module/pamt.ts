import type { TdxOperandName } from '../../kvm/status.js';
import type { ModuleFacts } from './facts.js';
import { refuse } from './refusal.js';

/** Page types as TDH.PHYMEM.PAGE.RDMD gives them (pamt_manager.h page_type_t). */
export const PT = { NDA: 0, RSVD: 1, REG: 3, TDR: 4, TDCX: 5, TDVPR: 6, EPT: 8 } as const;
export type PageType = (typeof PT)[keyof typeof PT];

export const PAGE_4K = 4096;
export const PAGE_2M = 2 * 1024 * 1024;

/** 0: 4 KiB, 1: 2 MiB. */
export type PageSize = 0 | 1;

/** One entry of the physical address metadata table. */
export interface PamtEntry {
  /** Physical address, without KeyID. */
  readonly pa: number;
  readonly size: PageSize;
  type: PageType;
  /** Address of the owner's TDR; 0 for a TDR and for pages that are not assigned. */
  owner: number;
  /** TD epoch at which the page was blocked. */
  bepoch: bigint;
  /** Locks held: number of sharers, or -1 for an exclusive holder. */
  lock: number;
}

const reservedAt = (facts: ModuleFacts, pa: number): boolean =>
  facts.tdmrs.some((t) => t.reserved?.some((r) => pa >= t.base + r.base && pa < t.base + r.base + r.size));

/** The physical address metadata table; entries exist only for pages that were ever touched and are not free. */
export class Pamt {
  // By page number: small integers make quicker keys than addresses.
  readonly #small = new Map<number, PamtEntry>();
  readonly #large = new Map<number, PamtEntry>();
  readonly #contents = new Map<number, Uint8Array>();
  readonly #facts: ModuleFacts;

  constructor(facts: ModuleFacts) {
    this.#facts = facts;
  }

  /** Number of pages that are assigned or locked. */
  get used(): number {
    return this.#small.size + this.#large.size;
  }

  covers(pa: number): boolean {
    return this.#facts.tdmrs.some((t) => pa >= t.base && pa < t.base + t.size);
  }

  entry(pa: number, size: PageSize = 0): PamtEntry {
    const table = size === 0 ? this.#small : this.#large;
    const number = pa / (size === 0 ? PAGE_4K : PAGE_2M);
    const found = table.get(number);
    if (found) return found;
    const type = size === 0 && reservedAt(this.#facts, pa) ? PT.RSVD : PT.NDA;
    const made: PamtEntry = { pa, size, type, owner: 0, bepoch: 0n, lock: 0 };
    table.set(number, made);
    return made;
  }

  /** The entry that describes the page: the 2 MiB one where the range is mapped as one page. */
  leaf(pa: number): PamtEntry {
    const large = this.#large.size > 0 ? this.#large.get(Math.floor(pa / PAGE_2M)) : undefined;
    return large?.type === PT.REG ? large : this.entry(pa);
  }

  /** Whether a smaller page of the 2 MiB range is in use. */
  rangeInUse(pa: number): boolean {
    for (let page = pa; page < pa + PAGE_2M; page += PAGE_4K) {
      const entry = this.#small.get(page / PAGE_4K);
      if (entry ? entry.type !== PT.NDA : reservedAt(this.#facts, page)) return true;
    }
    return false;
  }

  /** Back to "not directly assigned". */
  free(entry: PamtEntry): void {
    entry.type = PT.NDA;
    entry.owner = 0;
    entry.bepoch = 0n;
    for (let pa = entry.pa; pa < entry.pa + (entry.size === 0 ? PAGE_4K : PAGE_2M); pa += PAGE_4K)
      this.#contents.delete(pa / PAGE_4K);
  }

  /** What the private 4 KiB page at `pa` holds; undefined while it is all zero. */
  content(pa: number): Uint8Array | undefined {
    return this.#contents.get(pa / PAGE_4K);
  }

  /** Gives the private page at `pa` its own copy of 4096 bytes. */
  fill(pa: number, bytes: Uint8Array): Uint8Array {
    const copy = bytes.slice();
    this.#contents.set(pa / PAGE_4K, copy);
    return copy;
  }

  /** Forgets an entry that says nothing: free and not locked. */
  tidy(entry: PamtEntry): void {
    if (entry.type !== PT.NDA || entry.lock !== 0) return;
    if (entry.size === 0) this.#small.delete(entry.pa / PAGE_4K);
    else this.#large.delete(entry.pa / PAGE_2M);
  }
}

/** The locks of one SEAMCALL. One call that names a page twice contends with itself, as on the real module. */
export class PageLocks {
  readonly #held: [entry: PamtEntry, exclusive: boolean][] = [];

  constructor(readonly pamt: Pamt) {}

  take(entry: PamtEntry, exclusive: boolean, operand: TdxOperandName): void {
    if (exclusive ? entry.lock !== 0 : entry.lock < 0) throw refuse('module.page.busy', operand);
    entry.lock = exclusive ? -1 : entry.lock + 1;
    this.#held.push([entry, exclusive]);
  }

  release(): void {
    for (const [entry, exclusive] of this.#held) {
      entry.lock = exclusive ? 0 : entry.lock - 1;
      this.pamt.tidy(entry);
    }
    this.#held.length = 0;
  }
}
