// What a guest finds at its ports and at addresses without memory.
import { integer, rangeError, record, typeError, u64 } from '../../kvm/check.js';

/** An order to end the run, from a device or from `onExit`. */
export interface StopRun {
  /** Why, one sentence for the outcome. */
  stop: string;
  /** What the guest gave as its exit code, where it gave one. */
  exitCode?: number;
}

/** What a write comes to: mostly nothing. */
// biome-ignore lint/suspicious/noConfusingVoidType: a device that only takes the value returns nothing
export type AfterWrite = StopRun | undefined | void;

/** A device at a range of I/O ports. */
export interface PortDevice {
  /** First and last port, 0 to 0xffff. */
  first: number;
  last: number;
  /** Value of `size` bytes (1, 2 or 4). Without it, an empty bus: all ones. */
  read?(port: number, size: number): number;
  /** Without it, writes go nowhere. */
  write?(port: number, size: number, value: number): AfterWrite;
}

/** A device at a range of guest physical addresses, without the SHARED bit, where no memory slot is. */
export interface MmioDevice {
  /** First and last address. */
  first: bigint;
  last: bigint;
  /** Value of `size` bytes (1 to 8). Without it, an empty bus: all ones. */
  read?(gpa: bigint, size: number): bigint;
  /** Without it, writes go nowhere. */
  write?(gpa: bigint, size: number, value: bigint): AfterWrite;
}

/** Devices of a TD, in place of the default ones where they have the same ports. */
export interface Devices {
  ports?: readonly PortDevice[];
  mmio?: readonly MmioDevice[];
}

const LAST_PORT = 0xffff;

/** @throws TypeError or RangeError for a device that is none, for an empty range, and for two devices at one place. */
export function checkDevices(devices: unknown): Required<Devices> {
  const { ports = [], mmio = [] } = record('options.devices', devices) as Devices;
  const checked = {
    ports: deviceList('ports', ports, (path, { first, last }) => {
      integer(`${path}.first`, first, LAST_PORT);
      integer(`${path}.last`, last, LAST_PORT);
    }),
    mmio: deviceList('mmio', mmio, (path, { first, last }) => {
      u64(`${path}.first`, first);
      u64(`${path}.last`, last);
    }),
  };
  demandDistinct('ports', checked.ports);
  demandDistinct('mmio', checked.mmio);
  return checked;
}

function deviceList<T extends PortDevice | MmioDevice>(
  kind: string,
  devices: readonly T[],
  checkRange: (path: string, device: T) => void,
): readonly T[] {
  if (!Array.isArray(devices)) throw typeError(`options.devices.${kind}`, 'an array', devices);
  for (const [i, device] of devices.entries()) {
    const path = `options.devices.${kind}[${i}]`;
    record(path, device);
    checkRange(path, device);
    if (device.first > device.last) throw rangeError(`${path}.last`, `${device.first} or more`, device.last);
    for (const method of ['read', 'write'] as const) {
      const given: unknown = device[method];
      if (given !== undefined && typeof given !== 'function') {
        throw typeError(`${path}.${method}`, 'a function', given);
      }
    }
  }
  return devices;
}

/** Two devices at one place: which one answers would depend on the order of a list. */
function demandDistinct(kind: string, devices: readonly (PortDevice | MmioDevice)[]): void {
  const inOrder = [...devices.keys()].sort((a, b) => (devices[a]!.first < devices[b]!.first ? -1 : 1));
  for (const [i, index] of inOrder.entries()) {
    const next = inOrder[i + 1];
    if (next === undefined || devices[index]!.last < devices[next]!.first) continue;
    const path = `options.devices.${kind}[${next}].first`;
    throw rangeError(path, `outside the range of ${kind}[${index}]`, devices[next]!.first);
  }
}

export const deviceAt = <T extends PortDevice | MmioDevice>(devices: readonly T[], place: T['first']): T | undefined =>
  devices.find(({ first, last }) => first <= place && place <= last);
