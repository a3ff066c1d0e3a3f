// The engine's page tables for deprivileged code: a TLB of the guest's own, filled by software. KVM shadows them and does
// not see what this process writes to them. An entry that comes, or allows more, it finds at the next fault; where one
// goes or allows less, the tables above it are made anew in pages that KVM has never seen.
import { PAGE_SIZE } from '../../../../kvm/constants.js';
import type { Region } from './region.js';

const PRESENT = 1n;
const WRITABLE = 2n;
const USER = 4n;
const ACCESSED_DIRTY = 0x60n;
const NX = 1n << 63n;
/** An entry that leads to a table: everything is allowed, the last one decides. */
const TABLE = PRESENT | WRITABLE | USER | ACCESSED_DIRTY;
const ADDRESS = 0xf_ffff_ffff_f000n;

/** Bytes of a table of the last level: what is filled at once. */
export const WINDOW = 2 ** 21;
const SPANS = [2 ** 39, 2 ** 30, WINDOW] as const;
/** A flush takes a few pages, a window at most four. */
const RESERVE = 64;

interface Table {
  gpa: number;
  readonly words: BigUint64Array;
  readonly below: Map<number, Table>;
}

/** An entry for CPL 3. */
export const leaf = (gpa: number, writable: boolean, executable: boolean): bigint =>
  BigInt(gpa) | PRESENT | USER | ACCESSED_DIRTY | (writable ? WRITABLE : 0n) | (executable ? 0n : NX);

export const allows = (entry: bigint, access: 'read' | 'write' | 'execute'): boolean =>
  (entry & PRESENT) !== 0n &&
  (access === 'read' || (access === 'write' ? (entry & WRITABLE) !== 0n : (entry & NX) === 0n));

/** Whether a processor that remembers `before` may go on with it when the entry is `after`. */
const isUpgrade = (before: bigint, after: bigint): boolean => {
  if ((before & PRESENT) === 0n) return true;
  if ((after & PRESENT) === 0n || ((before ^ after) & ADDRESS) !== 0n) return false;
  return (before & WRITABLE & ~after) === 0n && (after & NX & ~before) === 0n;
};

const indexOf = (linear: number, span: number): number => ((Math.floor(linear / span) % 512) + 512) % 512;

export class Tables {
  #root!: Table;

  constructor(private readonly region: Region) {
    this.flush();
  }

  /** For CR3. It changes with every flush and whenever something is taken away. */
  get root(): number {
    return this.#root.gpa;
  }

  /** Forgets every translation. */
  flush(): void {
    if (this.region.free < RESERVE) this.region.recycle();
    const words = new BigUint64Array(512);
    const { index, entry } = this.region.codeEntry;
    words[index] = entry;
    this.#root = { gpa: this.region.newTable(words), words, below: new Map() };
  }

  /** The entry of a page; 0 where there is none. */
  entry(linear: number): bigint {
    return this.window(linear)?.[indexOf(linear, PAGE_SIZE)] ?? 0n;
  }

  /** Entries of the aligned 2 MiB around `linear`. */
  window(linear: number): Readonly<BigUint64Array> | undefined {
    let table: Table | undefined = this.#root;
    for (const span of SPANS) table = table?.below.get(indexOf(linear, span));
    return table?.words;
  }

  /** Replaces the entries of the aligned 2 MiB around `linear`. */
  setWindow(linear: number, words: BigUint64Array): void {
    if (this.region.free < RESERVE) this.flush();
    const path = [this.#root];
    for (const span of SPANS.slice(0, 2)) path.push(this.#below(path.at(-1)!, indexOf(linear, span)));
    const directory = path[2]!;
    const index = indexOf(linear, WINDOW);
    const known = directory.below.get(index);
    if (known === undefined) {
      directory.below.set(index, { gpa: this.region.newTable(words), words, below: new Map() });
      this.#link(directory, index);
      return;
    }
    const upgrade = words.every((word, i) => isUpgrade(known.words[i]!, word));
    known.words.set(words);
    if (upgrade) this.region.rewrite(known.gpa, words);
    else this.#renew([...path, known], linear);
  }

  #below(table: Table, index: number): Table {
    let below = table.below.get(index);
    if (below === undefined) {
      const words = new BigUint64Array(512);
      below = { gpa: this.region.newTable(words), words, below: new Map() };
      table.below.set(index, below);
      this.#link(table, index);
    }
    return below;
  }

  #link(table: Table, index: number): void {
    table.words[index] = BigInt(table.below.get(index)!.gpa) | TABLE;
    this.region.rewrite(table.gpa, table.words);
  }

  /** Gives the tables on the way to `linear` new pages, the last one first. */
  #renew(path: readonly Table[], linear: number): void {
    for (let level = path.length - 1; level >= 0; level--) {
      const table = path[level]!;
      if (level < SPANS.length) {
        const index = indexOf(linear, SPANS[level]!);
        table.words[index] = BigInt(path[level + 1]!.gpa) | TABLE;
      }
      table.gpa = this.region.newTable(table.words);
    }
  }
}
