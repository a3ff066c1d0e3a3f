import { readFileSync } from 'node:fs';

/** A part of a process's address space, bytes. */
interface Mapping {
  start: number;
  end: number;
  readable: boolean;
  writable: boolean;
}

/** `/proc/PID/maps`, in the order of addresses. */
export const parseMappings = (text: string): Mapping[] =>
  [...text.matchAll(/^([0-9a-f]+)-([0-9a-f]+) (\S)(\S)/gm)].map(([, start, end, read, write]) => ({
    start: Number.parseInt(start!, 16),
    end: Number.parseInt(end!, 16),
    readable: read === 'r',
    writable: write === 'w',
  }));

/**
 * What a process may do with its memory: /proc/PID/mem asks nobody, the kernel does when it copies. What is found is
 * believed until `forget`; what is not is looked for again, since programs map memory as they go.
 */
export class Mappings {
  #known: Mapping[] | undefined;

  constructor(private readonly path: string) {}

  forget(): void {
    this.#known = undefined;
  }

  /** Whether all of a range may be read, or written. */
  allow(start: number, length: number, access: 'readable' | 'writable'): boolean {
    if (this.#known && this.#covers(start, start + length, access)) return true;
    try {
      this.#known = parseMappings(readFileSync(this.path, 'latin1'));
    } catch {
      return false;
    }
    return this.#covers(start, start + length, access);
  }

  #covers(start: number, end: number, access: 'readable' | 'writable'): boolean {
    const mappings = this.#known!;
    let [low, high] = [0, mappings.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (mappings[middle]!.end <= start) low = middle + 1;
      else high = middle;
    }
    for (let at = start, i = low; at < end; i++) {
      const mapping = mappings[i];
      if (!mapping || mapping.start > at || !mapping[access]) return false;
      at = mapping.end;
    }
    return true;
  }
}
