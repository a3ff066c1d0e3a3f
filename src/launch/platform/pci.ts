// PCI configuration space: functions, and the two ways to it that a q35 chipset has: the ports 0xcf8 and 0xcfc, and memory
// (PCIe ECAM) where the host bridge's PCIEXBAR says. Functions that are not there read as all ones.
import { emptyBus, numberAt, type PlatformMmio, type PlatformPorts } from './device.js';

const LEGACY_BYTES = 256;
const EXTENDED_BYTES = 4096;

/** One function: its registers, and which of their bits the guest may write. */
export class PciFunction {
  readonly registers = new Uint8Array(LEGACY_BYTES);
  readonly #writable = new Uint8Array(LEGACY_BYTES);

  /** Value after reset of `size` bytes at `offset`, and the mask of writable bits. */
  define(offset: number, size: number, value: number, writable = 0): this {
    for (let i = 0; i < size; i++) {
      this.registers[offset + i] = Math.floor(value / 2 ** (8 * i)) & 0xff;
      this.#writable[offset + i] = Math.floor(writable / 2 ** (8 * i)) & 0xff;
    }
    return this;
  }

  /** Extended configuration space, above 0xff, is there and empty. */
  read(offset: number, size: number): number {
    if (offset >= LEGACY_BYTES) return 0;
    return numberAt(this.registers, offset, Math.min(size, LEGACY_BYTES - offset));
  }

  write(offset: number, size: number, value: number): void {
    for (let i = 0; i < size && offset + i < LEGACY_BYTES; i++) {
      const mask = this.#writable[offset + i]!;
      const byte = Math.floor(value / 2 ** (8 * i)) & mask;
      this.registers[offset + i] = (this.registers[offset + i]! & ~mask) | byte;
    }
  }
}

/** Bus, device and function as PCI packs them into 16 bits. */
export const bdf = (bus: number, device: number, fn: number): number => (bus << 8) | (device << 3) | fn;

/** The functions of a machine. */
export class PciBus {
  readonly #functions = new Map<number, PciFunction>();

  add(at: number, fn: PciFunction): PciFunction {
    this.#functions.set(at, fn);
    return fn;
  }

  read(at: number, offset: number, size: number): number {
    return this.#functions.get(at)?.read(offset, size) ?? emptyBus(size);
  }

  write(at: number, offset: number, size: number, value: number): void {
    this.#functions.get(at)?.write(offset, size, value);
  }
}

const CONFIG_ADDRESS = 0xcf8;
const CONFIG_DATA = 0xcfc;
const ENABLE = 0x8000_0000;

/**
 * CONFIG_ADDRESS and CONFIG_DATA (PCI Local Bus Specification 3.0, 3.2.2.3.2): bit 31 enable, 23:8 bus, device and function,
 * 7:2 register. Only a write of all four bytes sets the address; `other` has the bytes of 0xcf8 to 0xcfb otherwise (0xcf9).
 */
export function configPorts(bus: PciBus, other: PlatformPorts): PlatformPorts {
  let address = 0;
  const place = (port: number) => [(address >>> 8) & 0xffff, (address & 0xfc) + port - CONFIG_DATA] as const;
  return {
    first: CONFIG_ADDRESS,
    last: CONFIG_DATA + 3,
    read(port, size) {
      if (port >= CONFIG_DATA) return address >= ENABLE ? bus.read(...place(port), size) : emptyBus(size);
      if (port === CONFIG_ADDRESS && size === 4) return address;
      return other.read(port, size);
    },
    write(port, size, value) {
      if (port < CONFIG_DATA && (port !== CONFIG_ADDRESS || size !== 4)) return other.write(port, size, value);
      if (port === CONFIG_ADDRESS) address = value >>> 0;
      else if (address >= ENABLE) bus.write(...place(port), size, value);
      return undefined;
    },
  };
}

/** Where ECAM is now: its first address and its buses, or undefined while it is switched off. */
export type EcamWindow = () => { base: bigint; buses: number } | undefined;

/**
 * The addresses that a q35 chipset may give to ECAM and to PCI devices (PCI Express Base Specification, 7.2.2: bits 27:12
 * bus, device and function, 11:0 register). Nobody answers outside of the window.
 */
export function ecam(bus: PciBus, window: EcamWindow, first: bigint, last: bigint): PlatformMmio {
  const place = (gpa: bigint): [at: number, offset: number] | undefined => {
    const now = window();
    if (!now || gpa < now.base || gpa >= now.base + (BigInt(now.buses) << 20n)) return undefined;
    const offset = Number(gpa - now.base);
    return [Math.floor(offset / EXTENDED_BYTES), offset % EXTENDED_BYTES];
  };
  return {
    first,
    last,
    read(gpa, size) {
      const found = place(gpa);
      if (!found) return (1n << BigInt(8 * size)) - 1n;
      const [at, offset] = found;
      const low = BigInt(bus.read(at, offset, Math.min(size, 4)));
      return size <= 4 ? low : low | (BigInt(bus.read(at, offset + 4, size - 4)) << 32n);
    },
    write(gpa, size, value) {
      const found = place(gpa);
      if (!found) return;
      const [at, offset] = found;
      bus.write(at, offset, Math.min(size, 4), Number(value & 0xffff_ffffn));
      if (size > 4) bus.write(at, offset + 4, size - 4, Number(value >> 32n));
    },
  };
}
