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
  readonly #staging: number;
  readonly #stride: number;
  readonly #extendAt: number;
  #pages = 0;

  constructor(
    readonly add: boolean,
    readonly extend: boolean,
  ) {
    this.#extendAt = add ? BLOCK : 0;
    this.#stride = this.#extendAt + (extend ? EXTEND_PAGE : 0);
    this.#staging = this.#stride * BATCH;
    this.#bytes = new Uint8Array(this.#staging + PAGE);
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
    if (this.add) this.#writeGpa(at, gpa);
    if (!this.extend) return;
    // The page comes over once and is spread with copyWithin: 16 subarrays a page cost twice as much.
    this.#stage(data, offset);
    for (let chunk = 0; chunk < PAGE; chunk += CHUNK) {
      const to = at + this.#extendAt + (chunk / CHUNK) * EXTEND;
      const from = this.#staging + chunk;
      this.#writeGpa(to, gpa + chunk);
      this.#bytes.copyWithin(to + BLOCK, from, from + CHUNK);
    }
  }

  take(): Uint8Array {
    const filled = this.#bytes.subarray(0, this.#pages * this.#stride);
    this.#pages = 0;
    return filled;
  }

  #writeGpa(at: number, gpa: number): void {
    this.#view.setUint32(at + GPA_OFFSET, gpa >>> 0, true);
    this.#view.setUint32(at + GPA_OFFSET + 4, Math.floor(gpa / TWO_32), true);
  }

  #stage(data: Uint8Array, offset: number): void {
    const length = Math.max(0, Math.min(PAGE, data.length - offset));
    this.#bytes.set(data.subarray(offset, offset + length), this.#staging);
    if (length < PAGE) this.#bytes.fill(0, this.#staging + length);
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
