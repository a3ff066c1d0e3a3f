// What the platform is made of: devices of the run loop that answer every access.
import type { AfterWrite, MmioDevice, PortDevice } from '../run/devices.js';

export type PlatformPorts = Required<PortDevice>;
export type PlatformMmio = Required<MmioDevice>;

/** Registers of a byte each, by their offset from the device's first port. */
export interface ByteRegisters {
  read(offset: number): number;
  write(offset: number, value: number): AfterWrite;
}

/** All ones: what an empty bus gives. */
export const emptyBus = (size: number): number => 2 ** (8 * size) - 1;

/** A device of byte registers. A wider access is one to each byte in turn, lowest first; beyond `last` there is nobody. */
export function byteDevice(first: number, last: number, registers: ByteRegisters): PlatformPorts {
  return {
    first,
    last,
    read(port, size) {
      let value = 0;
      for (let i = 0; i < size; i++) {
        const byte = port + i <= last ? registers.read(port - first + i) & 0xff : 0xff;
        value += byte * 2 ** (8 * i);
      }
      return value;
    },
    write(port, size, value) {
      let after: AfterWrite;
      for (let i = 0; i < size && port + i <= last; i++) {
        after = registers.write(port - first + i, Math.floor(value / 2 ** (8 * i)) & 0xff) ?? after;
      }
      return after;
    },
  };
}

/** Little-endian number of `size` bytes, 1 to 4. */
export function numberAt(bytes: Uint8Array, offset: number, size: number): number {
  let value = 0;
  for (let i = 0; i < size; i++) value += (bytes[offset + i] ?? 0xff) * 2 ** (8 * i);
  return value;
}
