import { createHash, type Hash } from 'node:crypto';

// Calls into the hash are dear beside the few bytes each measures, so bytes gather here first.
const BUFFER = 24 * 1024;

const nameBlock = (name: string): Uint8Array => {
  const block = new Uint8Array(128);
  block.set(new TextEncoder().encode(name));
  return block;
};
const PAGE_ADD = nameBlock('MEM.PAGE.ADD');
const EXTEND = nameBlock('MR.EXTEND');

/** The running SHA-384 behind MRTD (tdh_mem_page_add.c, tdh_mr_extend.c). */
export class MrtdBuilder {
  readonly #hash: Hash = createHash('sha384');
  #buffer = new Uint8Array(0);
  #view = new DataView(this.#buffer.buffer);
  #used = 0;

  #room(bytes: number): number {
    if (this.#buffer.length === 0) {
      this.#buffer = new Uint8Array(BUFFER);
      this.#view = new DataView(this.#buffer.buffer);
    }
    if (this.#used + bytes > BUFFER) this.#flush();
    const at = this.#used;
    this.#used += bytes;
    return at;
  }

  #flush(): void {
    this.#hash.update(this.#buffer.subarray(0, this.#used));
    this.#used = 0;
  }

  #block(name: Uint8Array, gpa: number, bytes: number): number {
    const at = this.#room(bytes);
    this.#buffer.set(name, at);
    this.#view.setBigUint64(at + 16, BigInt(gpa), true);
    return at;
  }

  /** TDH.MEM.PAGE.ADD: the address of the page, not its content. */
  pageAdd(gpa: number): void {
    this.#block(PAGE_ADD, gpa, 128);
  }

  /** TDH.MR.EXTEND: the address of a chunk and its 256 bytes. */
  extend(gpa: number, chunk: Uint8Array): void {
    const at = this.#block(EXTEND, gpa, 128 + 256);
    this.#buffer.set(chunk, at + 128);
  }

  /** The 48 bytes of MRTD; the builder is spent. */
  finalize(): Uint8Array {
    this.#flush();
    this.#buffer = new Uint8Array(0);
    return new Uint8Array(this.#hash.digest());
  }
}
