import type { CheckedRun } from '../../../kvm/check-run.js';
import type { ExitReply, IoExit } from '../../../kvm/exits.js';

/** A guest that writes without end must not take all memory; beyond this its exits go to the caller. Bytes. */
const MOST = 1 << 20;

/** Bytes that a guest wrote to ports, oldest first (native/core/ports.hpp). */
export class PortOutput {
  #bytes = new Uint8Array(0);
  #used = 0;

  /** All of the bytes or, if they do not fit, none: false. */
  append(bytes: Uint8Array): boolean {
    const used = this.#used + bytes.length;
    if (used > MOST) return false;
    if (used > this.#bytes.length) {
      const grown = new Uint8Array(Math.min(MOST, Math.max(1024, 2 * used)));
      grown.set(this.#bytes.subarray(0, this.#used));
      this.#bytes = grown;
    }
    this.#bytes.set(bytes, this.#used);
    this.#used = used;
    return true;
  }

  take(): Uint8Array {
    const taken = this.#bytes.slice(0, this.#used);
    this.#used = 0;
    return taken;
  }
}

/** The reply to a port exit, if one of `ports` has its port and there is room for what it writes. The first range counts. */
export function answerPort(ports: CheckedRun['ports'], exit: IoExit, output: PortOutput): ExitReply | undefined {
  const range = ports.find(({ first, last }) => first <= exit.port && exit.port <= last);
  if (!range) return undefined;
  if (exit.direction === 'in') return { data: new Uint8Array(exit.size * exit.count).fill(range.readByte) };
  return !range.gather || output.append(exit.data) ? {} : undefined;
}
