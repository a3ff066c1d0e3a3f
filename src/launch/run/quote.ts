// TDG.VP.VMCALL<GetQuote>: a TDREPORT goes out and a quote comes back through shared memory (Intel TDX GHCI).
import { PAGE_SIZE } from '../../kvm/index.js';
import type { TdMemory } from '../memory.js';
import { VMCALL_STATUS } from './td-vmcall.js';

/**
 * Makes a quote.
 * @param report what the guest put into the buffer: a TDREPORT (1024 bytes) from Linux, a message to a quoting service from others
 * @param context `signal` is aborted when the run has ended and the answer is no longer wanted
 */
export type QuoteHandler = (report: Uint8Array, context: { signal: AbortSignal }) => Uint8Array | Promise<Uint8Array>;

/** Header of the shared buffer, little endian: version u64, status u64, length in u32, length out u32. */
const HEADER_BYTES = 24;
const VERSION = 1n;
const AT = { version: 0, status: 8, inLength: 16, outLength: 20 } as const;

/** What a guest may ask of its host, as in QEMU: a larger buffer is refused, a request above these has to come again. */
const MOST_BYTES = 128n << 10n;
const MOST_REQUESTS = 16;

/** `status` of the header. */
const QUOTE_STATUS = {
  SUCCESS: 0n,
  IN_FLIGHT: 0xffff_ffff_ffff_ffffn,
  ERROR: 0x8000_0000_0000_0000n,
  SERVICE_UNAVAILABLE: 0x8000_0000_0000_0001n,
} as const;

/** Takes quote requests of one TD and answers them in its memory, some time later. */
export class QuoteService {
  readonly #memory: TdMemory;
  readonly #handler: QuoteHandler;
  readonly #ended = new AbortController();
  #underWay = 0;

  constructor(memory: TdMemory, handler: QuoteHandler) {
    this.#memory = memory;
    this.#handler = handler;
  }

  /**
   * Takes a request over. The guest polls `status` of the header until it is no longer in flight.
   * @param gpa shared, without the SHARED bit. @param size bytes of the buffer with its header.
   * @returns status of the VMCALL
   */
  request(gpa: bigint, size: bigint): bigint {
    const page = BigInt(PAGE_SIZE);
    if (gpa % page !== 0n || size % page !== 0n) return VMCALL_STATUS.ALIGN_ERROR;
    const room = Number(size) - HEADER_BYTES;
    const header = room > 0 && size <= MOST_BYTES ? this.#memory.readShared(gpa, HEADER_BYTES) : undefined;
    if (!header) return VMCALL_STATUS.INVALID_OPERAND;
    const view = new DataView(header.buffer, header.byteOffset, HEADER_BYTES);
    const length = view.getUint32(AT.inLength, true);
    const clean = view.getBigUint64(AT.status, true) === 0n && view.getUint32(AT.outLength, true) === 0;
    if (view.getBigUint64(AT.version, true) !== VERSION || !clean || length > room)
      return VMCALL_STATUS.INVALID_OPERAND;
    if (this.#underWay >= MOST_REQUESTS) return VMCALL_STATUS.RETRY;
    const report = this.#memory.readShared(gpa + BigInt(HEADER_BYTES), length);
    if (!report || !this.#setStatus(gpa, QUOTE_STATUS.IN_FLIGHT)) return VMCALL_STATUS.INVALID_OPERAND;
    void this.#make(gpa, report, room);
    return VMCALL_STATUS.SUCCESS;
  }

  /** What is still under way is no longer wanted. */
  end(): void {
    this.#ended.abort();
  }

  async #make(gpa: bigint, report: Uint8Array, room: number): Promise<void> {
    let quote: Uint8Array | undefined;
    this.#underWay++;
    try {
      const made = await this.#handler(report, { signal: this.#ended.signal });
      if (made instanceof Uint8Array && made.length <= room) quote = made;
    } catch {
      // The guest is told: its request failed.
    } finally {
      this.#underWay--;
    }
    if (this.#ended.signal.aborted) return;
    if (quote) {
      const length = new Uint8Array(4);
      new DataView(length.buffer).setUint32(0, quote.length, true);
      this.#memory.writeShared(gpa + BigInt(HEADER_BYTES), quote);
      this.#memory.writeShared(gpa + BigInt(AT.outLength), length);
    }
    // Last: from now on the guest reads.
    this.#setStatus(gpa, quote ? QUOTE_STATUS.SUCCESS : QUOTE_STATUS.ERROR);
  }

  #setStatus(gpa: bigint, status: bigint): boolean {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, status, true);
    return this.#memory.writeShared(gpa + BigInt(AT.status), bytes);
  }
}
