/** [start, end), bytes. */
export interface Range {
  start: number;
  end: number;
}

/** Ranges of addresses that neither overlap nor touch, in order. */
export class RangeSet {
  readonly #ranges: Range[] = [];

  /** Index of the first range that ends behind `at`. */
  #from(at: number): number {
    let low = 0;
    for (let high = this.#ranges.length; low < high; ) {
      const middle = (low + high) >> 1;
      if (this.#ranges[middle]!.end > at) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  get size(): number {
    return this.#ranges.length;
  }

  [Symbol.iterator](): IterableIterator<Range> {
    return this.#ranges[Symbol.iterator]();
  }

  /** The range that holds `at`. */
  find(at: number): Range | undefined {
    const range = this.#ranges[this.#from(at)];
    return range !== undefined && range.start <= at ? range : undefined;
  }

  add(start: number, end: number): void {
    const first = this.#from(start - 1);
    let last = first;
    const sum = { start, end };
    for (; last < this.#ranges.length && this.#ranges[last]!.start <= end; last++) {
      sum.start = Math.min(sum.start, this.#ranges[last]!.start);
      sum.end = Math.max(sum.end, this.#ranges[last]!.end);
    }
    this.#ranges.splice(first, last - first, sum);
  }

  remove(start: number, end: number): void {
    const first = this.#from(start);
    const left: Range[] = [];
    let last = first;
    for (; last < this.#ranges.length && this.#ranges[last]!.start < end; last++) {
      const range = this.#ranges[last]!;
      if (range.start < start) left.push({ start: range.start, end: start });
      if (range.end > end) left.push({ start: end, end: range.end });
    }
    this.#ranges.splice(first, last - first, ...left);
  }

  clear(): void {
    this.#ranges.length = 0;
  }
}
