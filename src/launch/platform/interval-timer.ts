// The 8254 interval timer at 0x40 (data sheet 231164): three counters that count. Binary, whatever the mode; no interrupts.
import { byteDevice, type PlatformPorts } from './device.js';

const PORT = 0x40;
const HZ = 1_193_182;
const COUNTERS = 3;
const CONTROL = 3;

/** Bits 5:4 of a control word. */
const [LATCH, LOW_BYTE, HIGH_BYTE, BOTH_BYTES] = [0, 1, 2, 3];

class Counter {
  readonly #clock: () => number;
  #access = BOTH_BYTES;
  /** What it counts down from; 0 means 65536. */
  #initial = 0x10000;
  #since = 0;
  /** Low byte of an initial count whose high byte is to come. */
  #low: number | undefined;
  /** Bytes of a count that reads are to give. */
  #toRead: number[] = [];

  constructor(clock: () => number) {
    this.#clock = clock;
  }

  control(word: number): void {
    const access = (word >> 4) & 3;
    if (access === LATCH) {
      this.#latch();
      return;
    }
    this.#access = access;
    this.#low = undefined;
    this.#toRead = [];
  }

  write(byte: number): void {
    if (this.#access === BOTH_BYTES && this.#low === undefined) {
      this.#low = byte;
      return;
    }
    const count = this.#access === LOW_BYTE ? byte : byte * 256 + (this.#low ?? 0);
    this.#initial = count || 0x10000;
    this.#since = this.#clock();
    this.#low = undefined;
  }

  read(): number {
    this.#latch();
    return this.#toRead.shift()!;
  }

  /** Takes the count, unless one is still to be read. */
  #latch(): void {
    if (this.#toRead.length > 0) return;
    const ticks = Math.floor(((this.#clock() - this.#since) * HZ) / 1000);
    const count = this.#initial - (ticks % this.#initial);
    if (this.#access !== HIGH_BYTE) this.#toRead.push(count & 0xff);
    if (this.#access !== LOW_BYTE) this.#toRead.push((count >> 8) & 0xff);
  }
}

/** @param clock milliseconds that only grow */
export function intervalTimer(clock: () => number): PlatformPorts {
  const counters = Array.from({ length: COUNTERS }, () => new Counter(clock));
  return byteDevice(PORT, PORT + CONTROL, {
    // The control word cannot be read.
    read: (offset) => counters[offset]?.read() ?? 0xff,
    write(offset, value) {
      // Number 3 is the read-back command, which an 8253 did not have either.
      if (offset === CONTROL) counters[value >> 6]?.control(value);
      else counters[offset]?.write(value);
    },
  });
}
