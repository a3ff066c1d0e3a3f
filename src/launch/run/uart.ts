// A 16550 without interrupts: enough for guests that poll it. Registers by offset, bits by the PC16550D's data sheet.
import type { PortDevice } from './devices.js';

const [DATA, INTERRUPT_ENABLE, INTERRUPT_ID, LINE_CONTROL, MODEM_CONTROL, LINE_STATUS, MODEM_STATUS, SCRATCH] = [
  0, 1, 2, 3, 4, 5, 6, 7,
];
const REGISTERS = 8;
/** LCR: DATA and INTERRUPT_ENABLE are the divisor of the baud rate. */
const DIVISOR_LATCH = 0x80;
/** MCR: what is sent comes back. */
const LOOPBACK = 0x10;
const FIFO_ENABLE = 0x01;
const NO_INTERRUPT = 0x01;
const FIFOS_ENABLED = 0xc0;
const DATA_READY = 0x01;
/** THR empty and transmitter idle: all that was sent is away. */
const SENT = 0x60;
/** CTS, DSR, DCD: somebody listens. */
const PEER_READY = 0xb0;
const FIFO_BYTES = 16;

/** A serial port: what it sends goes to a function, what it receives waits until the guest reads it. */
export class Uart implements PortDevice {
  readonly first: number;
  readonly last: number;
  readonly #send: (bytes: Uint8Array) => void;
  /** What was sent in loopback. */
  readonly #received: number[] = [];
  #input: Uint8Array = new Uint8Array(0);
  #onTaken: (() => void) | undefined;
  /** Registers that keep what was written. */
  readonly #kept = new Uint8Array(REGISTERS);
  readonly #divisor = new Uint8Array(2);
  #fifo = false;

  constructor(first: number, send: (bytes: Uint8Array) => void) {
    this.first = first;
    this.last = first + REGISTERS - 1;
    this.#send = send;
    this.#divisor[0] = 1;
  }

  /** Whether a byte written to the data port is a byte sent, and LSR a constant where nothing is received. */
  get plain(): boolean {
    return !this.#latched && !this.#loops && this.#received.length === 0;
  }

  /**
   * Bytes from outside. No more than the guest takes are in the port, so that none is lost; resolves when it has the last of
   * them. Not again before that.
   */
  receive(bytes: Uint8Array): Promise<void> {
    if (bytes.length === 0) return Promise.resolve();
    this.#input = bytes;
    return new Promise((resolve) => {
      this.#onTaken = resolve;
    });
  }

  get dataPort(): number {
    return this.first + DATA;
  }

  get statusPort(): number {
    return this.first + LINE_STATUS;
  }

  /** LSR while {@link plain}. */
  readonly idleStatus = SENT;

  get #latched(): boolean {
    return (this.#kept[LINE_CONTROL]! & DIVISOR_LATCH) !== 0;
  }

  get #loops(): boolean {
    return (this.#kept[MODEM_CONTROL]! & LOOPBACK) !== 0;
  }

  /** Wider accesses are taken apart, as the bus of a PC does: one register a byte. A wide write to the data port is all data. */
  read(port: number, size: number): number {
    let value = 0;
    for (let i = size - 1; i >= 0; i--) value = value * 256 + this.#readRegister(port - this.first + i);
    return value;
  }

  write(port: number, size: number, value: number): void {
    // Gathering on the vCPU's thread knows bytes, not registers: all of them are sent, and so they are here.
    if (port === this.dataPort && size > 1 && this.plain) {
      this.#send(Uint8Array.from({ length: size }, (_, i) => Math.floor(value / 256 ** i) & 0xff));
      return;
    }
    for (let i = 0, rest = value; i < size; i++, rest = Math.floor(rest / 256)) {
      this.#writeRegister(port - this.first + i, rest & 0xff);
    }
  }

  #readRegister(offset: number): number {
    switch (offset) {
      case DATA:
        return this.#latched ? this.#divisor[0]! : (this.#received.shift() ?? this.#take());
      case INTERRUPT_ENABLE:
        return this.#latched ? this.#divisor[1]! : this.#kept[INTERRUPT_ENABLE]!;
      case INTERRUPT_ID:
        return NO_INTERRUPT | (this.#fifo ? FIFOS_ENABLED : 0);
      case LINE_STATUS:
        return SENT | (this.#received.length > 0 || this.#hasInput ? DATA_READY : 0);
      case MODEM_STATUS:
        return this.#loops ? loopedModemStatus(this.#kept[MODEM_CONTROL]!) : PEER_READY;
      case LINE_CONTROL:
      case MODEM_CONTROL:
      case SCRATCH:
        return this.#kept[offset]!;
      default:
        return 0xff;
    }
  }

  /** In loopback the line is cut off. */
  get #hasInput(): boolean {
    return !this.#loops && this.#input.length > 0;
  }

  #take(): number {
    if (!this.#hasInput) return 0;
    const byte = this.#input[0]!;
    this.#input = this.#input.subarray(1);
    if (this.#input.length === 0) this.#onTaken?.();
    return byte;
  }

  #writeRegister(offset: number, value: number): void {
    if (offset === DATA && this.#latched) this.#divisor[0] = value;
    else if (offset === INTERRUPT_ENABLE && this.#latched) this.#divisor[1] = value;
    else if (offset === DATA && this.#loops) this.#loop(value);
    else if (offset === DATA) this.#send(Uint8Array.of(value));
    else if (offset === INTERRUPT_ENABLE) this.#kept[offset] = value & 0x0f;
    else if (offset === INTERRUPT_ID) this.#fifo = (value & FIFO_ENABLE) !== 0;
    else if (offset === MODEM_CONTROL) this.#kept[offset] = value & 0x1f;
    else if (offset === LINE_CONTROL || offset === SCRATCH) this.#kept[offset] = value;
  }

  #loop(value: number): void {
    if (this.#received.length < (this.#fifo ? FIFO_BYTES : 1)) this.#received.push(value);
  }
}

/** In loopback the outputs of the modem control register are the inputs: DTR RTS OUT1 OUT2 as DSR CTS RI DCD. */
const loopedModemStatus = (control: number): number =>
  ((control & 1) << 5) | ((control & 2) << 3) | ((control & 4) << 4) | ((control & 8) << 4);
