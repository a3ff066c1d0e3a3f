// What the platform is made of: devices as the run loop asks for them (run/devices.ts), answering every access.

/** A device at the I/O ports `first` to `last`; sizes are 1, 2 or 4 bytes. */
export interface PlatformPorts {
  readonly first: number;
  readonly last: number;
  read(port: number, size: number): number;
  write(port: number, size: number, value: number): void;
}

/** A device at the guest physical addresses `first` to `last`; sizes are 1 to 8 bytes. */
export interface PlatformMmio {
  readonly first: bigint;
  readonly last: bigint;
  read(gpa: bigint, size: number): bigint;
  write(gpa: bigint, size: number, value: bigint): void;
}

/** Registers of a byte each, by their offset from the device's first port. */
export interface ByteRegisters {
  read(offset: number): number;
  write(offset: number, value: number): void;
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
      for (let i = 0; i < size && port + i <= last; i++) {
        registers.write(port - first + i, Math.floor(value / 2 ** (8 * i)) & 0xff);
      }
    },
  };
}

/** Little-endian number of `size` bytes, 1 to 4. */
export function numberAt(bytes: Uint8Array, offset: number, size: number): number {
  let value = 0;
  for (let i = 0; i < size; i++) value += (bytes[offset + i] ?? 0xff) * 2 ** (8 * i);
  return value;
}
