import { type Platform, type Q35Options, q35Platform } from '../../src/launch/platform/index.js';

/** A platform as its guest sees it: accesses by port and address. A port without a device is an empty bus. */
export function guestOf(options: Partial<Q35Options> = {}) {
  const platform: Platform = q35Platform({ memory: 256 << 20, date: new Date(0), clock: () => 0, ...options });
  const at = <T extends number | bigint, D extends { first: T; last: T }>(devices: readonly D[], place: T) =>
    devices.find(({ first, last }) => first <= place && place <= last);
  const guest = {
    platform,
    in: (port: number, size = 1) => at(platform.ports, port)?.read(port, size) ?? 2 ** (8 * size) - 1,
    out: (port: number, value: number, size = 1) => at(platform.ports, port)?.write(port, size, value),
    load: (gpa: bigint, size = 4) => at(platform.mmio, gpa)?.read(gpa, size),
    store: (gpa: bigint, value: bigint, size = 4) => at(platform.mmio, gpa)?.write(gpa, size, value),
    /** A register of PCI configuration space by CONFIG_ADDRESS and CONFIG_DATA. */
    config: (device: number, register: number, size = 4) => {
      guest.out(0xcf8, 0x8000_0000 + device * 0x800 + (register & 0xfc), 4);
      return guest.in(0xcfc + (register & 3), size);
    },
    setConfig: (device: number, register: number, value: number, size = 4) => {
      guest.out(0xcf8, 0x8000_0000 + device * 0x800 + (register & 0xfc), 4);
      guest.out(0xcfc + (register & 3), value, size);
    },
    cmos: (index: number) => {
      guest.out(0x70, index);
      return guest.in(0x71);
    },
  };
  return guest;
}
