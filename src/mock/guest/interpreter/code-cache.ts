import type { Insn } from './decode.js';
import type { Machine } from './machine.js';

/** What an instruction does. RIP of the next one is in `machine.next`. */
export type Exec = (machine: Machine) => void;

export interface Op {
  readonly insn: Insn;
  readonly exec: Exec;
}

/** Decoded instructions of one page, as it is seen at one linear address in one width of code. */
export class CodeCache {
  /** Number of the linear page. */
  readonly page: number;
  readonly bits: number;
  ops: (Op | undefined)[] = [];
  /** Bytes of the page that instructions here were made of. */
  #low = 0x1000;
  #high = 0;

  constructor(page: number, bits: number) {
    this.page = page;
    this.bits = bits;
  }

  add(offset: number, op: Op): void {
    if (this.ops.length === 0) this.ops = new Array<Op | undefined>(0x1000).fill(undefined);
    this.ops[offset] = op;
    this.#low = Math.min(this.#low, offset);
    this.#high = Math.max(this.#high, offset + op.insn.length);
  }

  /** [offset, offset + size) of the page was written. */
  written(offset: number, size: number): void {
    if (offset >= this.#high || offset + size <= this.#low) return;
    this.ops = [];
    this.#low = 0x1000;
    this.#high = 0;
  }
}

/** A page may be mapped at several addresses, so it has several caches, mostly one. */
export function cacheOf(page: { code: unknown }, number: number, bits: number): CodeCache {
  page.code ??= [];
  const caches = page.code as CodeCache[];
  let cache = caches.find((other) => other.page === number && other.bits === bits);
  if (cache === undefined) {
    cache = new CodeCache(number, bits);
    caches.push(cache);
  }
  return cache;
}

export function codeWritten(page: { code: unknown }, offset: number, size: number): void {
  if (page.code !== undefined) for (const cache of page.code as CodeCache[]) cache.written(offset, size);
}
