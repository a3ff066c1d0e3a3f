// ACPI fixed hardware at the ICH9's PMBASE (ACPI specification 4.8, ICH9 datasheet 13.8.3), and the reset control register.
import type { StopRun } from '../run/devices.js';
import { byteDevice, emptyBus, numberAt, type PlatformPorts } from './device.js';

/** The machine restarts: a TD cannot, so its run ends. */
export const RESET: StopRun = { stop: 'The guest reset the machine' };
const OFF: StopRun = { stop: 'The guest switched the machine off' };

/** Where firmware for this chipset puts PMBASE: OVMF and SeaBIOS alike. Anywhere else nobody answers. */
const PM_FIRST = 0x600;
const PM_BYTES = 0x80;
const [PM1_STS, PM1_CNT, PM_TMR] = [0x00, 0x04, 0x08];
const SCI_EN = 0x0001;
const SLP_EN = 0x2000;

const PM_TIMER_HZ = 3_579_545;
const PM_TIMER_MASK = 0xff_ffff;

/** Ticks of the power management timer, 24 bits. @param nowMs milliseconds that only grow. */
const pmTimer = (nowMs: number): number => Math.floor((nowMs * PM_TIMER_HZ) / 1000) & PM_TIMER_MASK;

export interface PmOptions {
  pmBase(): number | undefined;
  /** Milliseconds that only grow. */
  clock(): number;
}

export function powerManagement({ pmBase, clock }: PmOptions): PlatformPorts {
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
      if (!enabled() || (offset >= PM_TMR && offset < PM_TMR + 4)) return undefined;
      for (let i = 0; i < size && offset + i < PM_BYTES; i++) {
        const byte = Math.floor(value / 2 ** (8 * i)) & 0xff;
        // Status bits are cleared by writing ones.
        const sticky = offset + i < PM1_STS + 2;
        registers[offset + i] = sticky ? registers[offset + i]! & ~byte : byte;
      }
      // There is one state to sleep in, whatever SLP_TYP says.
      const sleeps = (registers[PM1_CNT + 1]! & (SLP_EN >> 8)) !== 0;
      registers[PM1_CNT + 1]! &= ~(SLP_EN >> 8);
      return sleeps ? OFF : undefined;
    },
  };
}

const RESET_CPU = 0x04;

/** 0xcf8 to 0xcfb as bytes: only 0xcf9, the reset control register (ICH9 datasheet 13.7.5), is one. */
export function resetControl(): PlatformPorts {
  let control = 0;
  return byteDevice(0xcf8, 0xcfb, {
    read: (offset) => (offset === 1 ? control : 0xff),
    write(offset, value) {
      if (offset !== 1) return undefined;
      const rises = (value & RESET_CPU) !== 0 && (control & RESET_CPU) === 0;
      control = value & ~RESET_CPU;
      return rises ? RESET : undefined;
    },
  });
}
