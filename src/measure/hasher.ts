import { createHash } from 'node:crypto';

/** One block of SHA-384, and of every header that the module hashes. */
const BLOCK = 128;
/** TDH.MR.EXTEND measures a page in chunks of this many bytes. */
export const CHUNK = 256;
const PAGE = 4096;
const EXTEND = BLOCK + CHUNK;
const CHUNKS_PER_PAGE = PAGE / CHUNK;
/** Hashed for the content of a page: 16 x (header and chunk). */
const EXTEND_PAGE = EXTEND * CHUNKS_PER_PAGE;
/** Pages gathered before they go to the hash: large enough that the call costs nothing, small enough for the cache. */
const BATCH = 16;

const GPA_OFFSET = 16;
const TWO_32 = 2 ** 32;

const header = (name: string): Uint8Array => {
  const block = new Uint8Array(BLOCK);
  block.set(new TextEncoder().encode(name));
  return block;
};
const ADD_HEADER = header('MEM.PAGE.ADD');
const EXTEND_HEADER = header('MR.EXTEND');

/**
 * Room for a run of equal records whose constant bytes are written once: per page an optional ADD block and optional
 * EXTEND records. Only addresses and content change from page to page.
 */
class Batch {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #page = new Uint8Array(PAGE);
  // Made once: a set() of a ready view costs half of what set(subarray()) does, and less than copyWithin().
  readonly #chunks = Array.from({ length: CHUNKS_PER_PAGE }, (_, i) => this.#page.subarray(i * CHUNK, (i + 1) * CHUNK));
  readonly #stride: number;
  readonly #extendAt: number;
  #pages = 0;

  constructor(
    readonly add: boolean,
    readonly extend: boolean,
  ) {
    this.#extendAt = add ? BLOCK : 0;
    this.#stride = this.#extendAt + (extend ? EXTEND_PAGE : 0);
    this.#bytes = new Uint8Array(this.#stride * BATCH);
    this.#view = new DataView(this.#bytes.buffer);
    for (let page = 0; page < BATCH; page++) {
      const at = page * this.#stride;
      if (add) this.#bytes.set(ADD_HEADER, at);
      for (let i = 0; extend && i < CHUNKS_PER_PAGE; i++)
        this.#bytes.set(EXTEND_HEADER, at + this.#extendAt + i * EXTEND);
    }
  }

  get full(): boolean {
    return this.#pages === BATCH;
  }

  /** @param gpa exact below 2^53. @param data where the page's content is; zeros after its end. */
  push(gpa: number, data: Uint8Array, offset: number): void {
    const at = this.#pages++ * this.#stride;
    const low = gpa >>> 0;
    const high = Math.floor(gpa / TWO_32);
    if (this.add) this.#writeGpa(at, low, high);
    if (!this.extend) return;
    this.#load(data, offset);
    let to = at + this.#extendAt;
    for (let i = 0; i < CHUNKS_PER_PAGE; i++, to += EXTEND) {
      this.#writeGpa(to, low + i * CHUNK, high);
      this.#bytes.set(this.#chunks[i]!, to + BLOCK);
    }
  }

  take(): Uint8Array {
    const filled = this.#bytes.subarray(0, this.#pages * this.#stride);
    this.#pages = 0;
    return filled;
  }

  #writeGpa(at: number, low: number, high: number): void {
    this.#view.setUint32(at + GPA_OFFSET, low, true);
    this.#view.setUint32(at + GPA_OFFSET + 4, high, true);
  }

  #load(data: Uint8Array, offset: number): void {
    const length = Math.max(0, Math.min(PAGE, data.length - offset));
    this.#page.set(data.subarray(offset, offset + length));
    if (length < PAGE) this.#page.fill(0, length);
  }
}

/**
 * The measurement of a TD as the TDX module keeps it (tdh_mem_page_add.c, tdh_mr_extend.c): SHA-384 over one 128-byte block
 * per added page, "MEM.PAGE.ADD" and its address at offset 16, and per measured 256-byte chunk one such block "MR.EXTEND"
 * and the chunk. It hashes what it is told; whether the module would take the call is the caller's to know.
 */
export class MrtdHasher {
  readonly #hash = createHash('sha384');
  readonly #batches = new Map<number, Batch>();
  #current: Batch | undefined;
  #hashedBytes = 0;

  /** Bytes that went into the hash. */
  get hashedBytes(): number {
    return this.#hashedBytes;
  }

  /** TDH.MEM.PAGE.ADD of one page. @param gpa below 2^53. */
  addPage(gpa: bigint | number): void {
    this.addPages(Number(gpa), 1);
  }

  /** TDH.MR.EXTEND of one chunk. @param gpa below 2^53. @param chunk 256 bytes. @throws RangeError for another length. */
  extend(gpa: bigint | number, chunk: Uint8Array): void {
    if (chunk.byteLength !== CHUNK) {
      throw new RangeError(`TDH.MR.EXTEND measures ${CHUNK} bytes, got ${chunk.byteLength}`);
    }
    this.#flush();
    const block = Uint8Array.from(EXTEND_HEADER);
    new DataView(block.buffer).setBigUint64(GPA_OFFSET, BigInt(gpa), true);
    this.#update(block);
    this.#update(chunk);
  }

  /** TDH.MEM.PAGE.ADD of consecutive pages. */
  addPages(gpa: number, pages: number): void {
    this.#run(true, false, gpa, pages, EMPTY);
  }

  /** The 16 TDH.MR.EXTEND of each of consecutive pages. @param data their content from its start; zeros after its end. */
  extendPages(gpa: number, pages: number, data: Uint8Array): void {
    this.#run(false, true, gpa, pages, data);
  }

  /** Per page TDH.MEM.PAGE.ADD and its 16 TDH.MR.EXTEND. */
  addAndExtendPages(gpa: number, pages: number, data: Uint8Array): void {
    this.#run(true, true, gpa, pages, data);
  }

  /** TDH.MR.FINALIZE: the MRTD, 96 hexadecimal digits. Ends this object. */
  finalize(): string {
    this.#flush();
    return this.#hash.digest('hex');
  }

  #run(add: boolean, extend: boolean, gpa: number, pages: number, data: Uint8Array): void {
    const batch = this.#batch(add, extend);
    for (let page = 0; page < pages; page++) {
      batch.push(gpa + page * PAGE, data, page * PAGE);
      if (batch.full) this.#update(batch.take());
    }
  }

  #batch(add: boolean, extend: boolean): Batch {
    if (this.#current?.add === add && this.#current.extend === extend) return this.#current;
    this.#flush();
    const key = Number(add) * 2 + Number(extend);
    let batch = this.#batches.get(key);
    if (!batch) {
      batch = new Batch(add, extend);
      this.#batches.set(key, batch);
    }
    this.#current = batch;
    return batch;
  }

  #flush(): void {
    if (!this.#current) return;
    this.#update(this.#current.take());
    this.#current = undefined;
  }

  #update(bytes: Uint8Array): void {
    this.#hash.update(bytes);
    this.#hashedBytes += bytes.byteLength;
  }
}

const EMPTY = new Uint8Array();
