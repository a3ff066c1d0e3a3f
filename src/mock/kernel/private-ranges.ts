/** Which guest pages have KVM_MEMORY_ATTRIBUTE_PRIVATE: sorted ranges of gfns, since one request may span the whole space. */
export class PrivateRanges {
  #ranges: { start: number; end: number }[] = [];

  /** Whether the whole of [start, end) is private. */
  covers(start: number, end: number): boolean {
    return this.#ranges.some((range) => range.start <= start && end <= range.end);
  }

  /** Makes [start, end) private or shared. */
  set(start: number, end: number, isPrivate: boolean): void {
    const rest = this.#ranges.flatMap((range) => [
      { start: range.start, end: Math.min(range.end, start) },
      { start: Math.max(range.start, end), end: range.end },
    ]);
    if (isPrivate) rest.push({ start, end });
    rest.sort((a, b) => a.start - b.start);
    this.#ranges = [];
    for (const range of rest) {
      if (range.start >= range.end) continue;
      const last = this.#ranges.at(-1);
      if (last && last.end === range.start) last.end = range.end;
      else this.#ranges.push({ ...range });
    }
  }
}
