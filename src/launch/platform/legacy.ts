// Devices of a PC that firmware touches and that have nothing to do here: registers that keep what was written, or say that
// all is well. They raise no interrupts.
import type { AfterWrite } from '../run/devices.js';
import { byteDevice, type PlatformPorts } from './device.js';
import { intervalTimer } from './interval-timer.js';
import { RESET } from './power.js';

/** Two 8259A interrupt controllers, at 0x20 and 0xa0: their masks, while nothing is ever pending. */
function interruptController(first: number): PlatformPorts {
  let mask = 0;
  let initialisation = 0;
  return byteDevice(first, first + 1, {
    read: (offset) => (offset === 1 ? mask : 0),
    write(offset, value) {
      const begins = offset === 0 && (value & 0x10) !== 0;
      // ICW1 says how many words follow at the other port: ICW2, ICW3 unless single, ICW4 if wanted.
      if (begins) initialisation = 1 + ((value & 2) === 0 ? 1 : 0) + (value & 1);
      if (begins) mask = 0;
      else if (offset === 1 && initialisation > 0) initialisation--;
      else if (offset === 1) mask = value;
    },
  });
}

/** Port B, 0x61: bits 3:0 are kept; bit 4 toggles as RAM is refreshed, every 15 us; bit 5 is the output of timer 2. */
function portB(clock: () => number): PlatformPorts {
  const [REFRESH, TIMER_2_OUT] = [0x10, 0x20];
  let kept = 0;
  return byteDevice(0x61, 0x61, {
    read: () => kept | (Math.floor((clock() * 1000) / 15) % 2 === 0 ? 0 : REFRESH) | TIMER_2_OUT,
    write: (_, value) => {
      kept = value & 0x0f;
    },
  });
}

const PULSE_RESET = 0xfe;

/**
 * The ports of an 8042 keyboard controller, 0x60 and 0x64, without one: all ones, by which drivers see at once that there is no
 * keyboard, and need not wait for it. Only what resets the machine works.
 */
function keyboardController(): PlatformPorts[] {
  const data = byteDevice(0x60, 0x60, { read: () => 0xff, write: () => {} });
  const command = byteDevice(0x64, 0x64, {
    read: () => 0xff,
    write: (_, value) => (value === PULSE_RESET ? RESET : undefined),
  });
  return [data, command];
}

/** A register that keeps its byte. */
function latch(port: number, initial: number, written?: (value: number) => AfterWrite): PlatformPorts {
  let kept = initial;
  return byteDevice(port, port, {
    read: () => kept,
    write(_, value) {
      kept = value;
      return written?.(value);
    },
  });
}

export interface LegacyOptions {
  /** Milliseconds that only grow. */
  clock(): number;
  /** A byte written to port 0x80, where firmware says how far it is. */
  postCode?(code: number): void;
}

export function legacyDevices({ clock, postCode }: LegacyOptions): PlatformPorts[] {
  const FAST_RESET = 0x01;
  return [
    interruptController(0x20),
    interruptController(0xa0),
    latch(0x4d0, 0),
    latch(0x4d1, 0),
    intervalTimer(clock),
    portB(clock),
    ...keyboardController(),
    latch(0x80, 0, postCode),
    // A20 is on, always.
    latch(0x92, 0x02, (value) => ((value & FAST_RESET) !== 0 ? RESET : undefined)),
  ];
}
