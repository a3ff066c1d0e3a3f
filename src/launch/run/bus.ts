import type { ExitReply, IoExit, MmioExit } from '../../kvm/index.js';
import { type Devices, deviceAt, type MmioDevice, type PortDevice, type StopRun } from './devices.js';

export type BusAnswer = { reply: ExitReply } | StopRun;

const EMPTY_BUS = 0xff;

const littleEndian = (bytes: Uint8Array): bigint =>
  bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);

function putValue(bytes: Uint8Array, value: bigint): void {
  for (let i = 0, rest = value; i < bytes.length; i++, rest >>= 8n) bytes[i] = Number(rest & 0xffn);
}

/** Answers accesses to ports and to addresses without memory. The first device of a place has it. */
export class Bus {
  readonly #ports: readonly PortDevice[];
  readonly #mmio: readonly MmioDevice[];

  constructor({ ports = [], mmio = [] }: Devices) {
    this.#ports = ports;
    this.#mmio = mmio;
  }

  /** The device that has a port. */
  portDevice(port: number): PortDevice | undefined {
    return deviceAt(this.#ports, port);
  }

  io(exit: IoExit): BusAnswer {
    const { port, size, count } = exit;
    const device = this.portDevice(port);
    if (exit.direction === 'in') {
      const data = new Uint8Array(size * count).fill(EMPTY_BUS);
      for (let i = 0; device?.read && i < count; i++) {
        putValue(data.subarray(i * size, (i + 1) * size), BigInt.asUintN(32, BigInt(device.read(port, size))));
      }
      return { reply: { data } };
    }
    for (let i = 0; device?.write && i < count; i++) {
      const stop = device.write(port, size, Number(littleEndian(exit.data.subarray(i * size, (i + 1) * size))));
      if (stop) return stop;
    }
    return { reply: {} };
  }

  mmio({ gpa, isWrite, data }: MmioExit): BusAnswer {
    const device = deviceAt(this.#mmio, gpa);
    if (isWrite) return device?.write?.(gpa, data.length, littleEndian(data)) || { reply: {} };
    const read = new Uint8Array(data.length).fill(EMPTY_BUS);
    if (device?.read) putValue(read, device.read(gpa, data.length));
    return { reply: { data: read } };
  }
}
