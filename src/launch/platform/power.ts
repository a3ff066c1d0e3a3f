// ACPI fixed hardware at the ICH9's PMBASE (ACPI specification 4.8, ICH9 datasheet 13.8.3), and the reset control register.
import { byteDevice, emptyBus, numberAt, type PlatformPorts } from './device.js';

/** Where firmware for this chipset puts PMBASE: OVMF and SeaBIOS alike. Anywhere else nobody answers. */
const PM_FIRST = 0x600;
const PM_BYTES = 0x80;
const [PM1_STS, PM1_CNT, PM_TMR] = [0x00, 0x04, 0x08];
const SCI_EN = 0x0001;
const SLP_EN = 0x2000;

const PM_TIMER_HZ = 3_579_545;
const PM_TIMER_MASK = 0xff_ffff;

/** Ticks of the power management timer, 24 bits. @param nowMs milliseconds that only grow. */
export const pmTimer = (nowMs: number): number => Math.floor((nowMs * PM_TIMER_HZ) / 1000) & PM_TIMER_MASK;

export interface PmOptions {
  pmBase(): number | undefined;
  /** Milliseconds that only grow. */
  clock(): number;
  /** PM1_CNT.SLP_EN was written, with this SLP_TYP: 0 is S5, power off, on this platform. */
  sleep(type: number): void;
}

export function powerManagement({ pmBase, clock, sleep }: PmOptions): PlatformPorts {
  const registers = new Uint8Array(PM_BYTES);
  registers[PM1_CNT] = SCI_EN;
  const enabled = () => pmBase() === PM_FIRST;
  return {
    first: PM_FIRST,
    last: PM_FIRST + PM_BYTES - 1,
    read(port, size) {
      if (!enabled()) return emptyBus(size);
      const offset = port - PM_FIRST;
      if (offset !== PM_TMR) return numberAt(registers, offset, size);
      const ticks = pmTimer(clock());
      return size === 4 ? ticks : ticks & emptyBus(size);
    },
    write(port, size, value) {
      const offset = port - PM_FIRST;
      if (!enabled() || (offset >= PM_TMR && offset < PM_TMR + 4)) return;
      if (offset === PM1_CNT && size >= 2 && (value & SLP_EN) !== 0) sleep((value >> 10) & 7);
      for (let i = 0; i < size && offset + i < PM_BYTES; i++) {
        const byte = Math.floor(value / 2 ** (8 * i)) & 0xff;
        // Status bits are cleared by writing ones.
        const sticky = offset + i < PM1_STS + 2;
        registers[offset + i] = sticky ? registers[offset + i]! & ~byte : byte;
      }
      registers[PM1_CNT + 1]! &= ~(SLP_EN >> 8);
    },
  };
}

const RESET_CPU = 0x04;

/** 0xcf8 to 0xcfb as bytes: only 0xcf9, the reset control register (ICH9 datasheet 13.7.5), is one. */
export function resetControl(reset: () => void): PlatformPorts {
  let control = 0;
  return byteDevice(0xcf8, 0xcfb, {
    read: (offset) => (offset === 1 ? control : 0xff),
    write(offset, value) {
      if (offset !== 1) return;
      const rises = (value & RESET_CPU) !== 0 && (control & RESET_CPU) === 0;
      control = value & ~RESET_CPU;
      if (rises) reset();
    },
  });
}
