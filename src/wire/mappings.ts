import { readFileSync } from 'node:fs';

interface Mapping {
  start: bigint;
  end: bigint;
  /** Of /proc/PID/maps: r, w, x or -, then p or s. */
  permissions: string;
}

const LINE = /^([0-9a-f]+)-([0-9a-f]+) (\S{4})/gm;

/**
 * What a program may do with its memory: /proc/PID/mem does not ask (a debugger may read what the program may not), but
 * the kernel's get_user_pages() and copy_from_user() do.
 */
export class Mappings {
  #list: Mapping[] | undefined;

  constructor(private readonly path: string) {}

  /** Whether the program itself could read or write all of a range. */
  allow(access: 'r' | 'w', address: bigint, length: number): boolean {
    const end = address + BigInt(length);
    for (let at = address; at < end; ) {
      const mapping = this.#current().find((each) => each.start <= at && at < each.end);
      if (!mapping?.permissions.includes(access)) return false;
      at = mapping.end;
    }
    return true;
  }

  /** As they are in this turn: a request touches many pages, and a program that waits for it changes nothing. */
  #current(): Mapping[] {
    if (!this.#list) {
      this.#list = this.#read();
      setImmediate(() => {
        this.#list = undefined;
      });
    }
    return this.#list;
  }

  #read(): Mapping[] {
    try {
      return [...readFileSync(this.path, 'latin1').matchAll(LINE)].map(([, start, end, permissions]) => ({
        start: BigInt(`0x${start}`),
        end: BigInt(`0x${end}`),
        permissions: permissions!,
      }));
    } catch {
      return [];
    }
  }
}
