import type { EngineVcpu, GuestSpace, PrivatePage } from '../../src/mock/guest/engine.js';

const PAGE = 4096;

/** A TD's memory in a test: pages that are put there, and shared memory of the host. */
export class TestSpace implements GuestSpace {
  readonly #private = new Map<number, Uint8Array>();
  readonly #shared = new Map<number, Uint8Array>();
  /** Leaves that give a #VE. */
  ve: readonly number[] = [];

  constructor(readonly sharedBit: number = 2 ** 47) {}

  /** Private pages with this content, zeros behind it. */
  addPrivate(gpa: number, size: number, content: Uint8Array = new Uint8Array(0)): void {
    for (let at = 0; at < size; at += PAGE) {
      const page = new Uint8Array(PAGE);
      page.set(content.subarray(at, at + PAGE));
      this.#private.set(gpa + at, page);
    }
  }

  removePrivate(gpa: number, size: number): void {
    for (let at = 0; at < size; at += PAGE) this.#private.delete(gpa + at);
  }

  addShared(gpa: number): Uint8Array {
    const page = new Uint8Array(PAGE);
    this.#shared.set(gpa, page);
    return page;
  }

  privatePage(gpa: number): PrivatePage {
    const bytes = this.#private.get(gpa - (gpa % PAGE));
    return bytes === undefined
      ? { state: 'absent' }
      : { state: 'mapped', zero: bytes.every((byte) => byte === 0), bytes };
  }

  readShared(gpa: number, length: number): Uint8Array | undefined {
    return this.#shared.get(gpa - (gpa % PAGE))?.slice(gpa % PAGE, (gpa % PAGE) + length);
  }

  writeShared(gpa: number, bytes: Uint8Array): boolean {
    const page = this.#shared.get(gpa - (gpa % PAGE));
    page?.set(bytes, gpa % PAGE);
    return page !== undefined;
  }

  cpuid(_: EngineVcpu, leaf: number, subleaf: number): readonly [number, number, number, number] | undefined {
    if (this.ve.includes(leaf)) return undefined;
    if (leaf === 0) return [0x24, 0x756e_6547, 0x6c65_746e, 0x4965_6e69];
    if (leaf === 0x21) return [0, 0x6574_6e49, 0x2020_2020, 0x5844_546c];
    if (leaf === 0x8000_0008) return [0x3034, 0, 0, 0];
    return leaf === 1 || leaf >= 0x8000_0000 || leaf === 7 ? undefined : [leaf, subleaf, 0, 0];
  }
}
