// The real time clock and its CMOS memory, ports 0x70 and 0x71 (MC146818A data sheet); where a PC keeps the size of its RAM.
import { byteDevice, type PlatformPorts } from './device.js';

const INDEX = 0x70;
const CELLS = 128;
/** Bit 7 of the index port masks NMI. */
const INDEX_MASK = 0x7f;

const CLOCK_CELLS = { seconds: 0x00, minutes: 0x02, hours: 0x04, weekday: 0x06, day: 0x07, month: 0x08, year: 0x09 };
/** As ACPI's FADT names it on PCs. */
const CENTURY = 0x32;
const [REGISTER_A, REGISTER_B, REGISTER_C, REGISTER_D] = [0x0a, 0x0b, 0x0c, 0x0d];
/** 32768 Hz time base, 1024 Hz periodic rate. */
const A_RESET = 0x26;
const BINARY = 0x04;
const HOURS_24 = 0x02;
const VALID_RAM_AND_TIME = 0x80;

// Sizes of RAM as QEMU keeps them (hw/i386/pc.c): KiB below 640 KiB, KiB above 1 MiB, 64 KiB above 16 MiB, 64 KiB above 4 GiB.
const BASE_KIB = 0x15;
const EXTENDED_KIB = [0x17, 0x30];
const ABOVE_16M = 0x34;
const ABOVE_4G = 0x5b;
const LAST_CPU = 0x5f;
const [MIB, MIB_16, GIB_4] = [1n << 20n, 1n << 24n, 1n << 32n];

export interface CmosOptions {
  ram: readonly { gpa: bigint; size: bigint }[];
  vcpus: number;
  /** The date and time to tell, UTC. */
  now(): Date;
}

export function cmos({ ram, vcpus, now }: CmosOptions): PlatformPorts {
  const cells = new Uint8Array(CELLS);
  cells[REGISTER_A] = A_RESET;
  cells[REGISTER_B] = HOURS_24;
  putRamSizes(cells, ram);
  cells[LAST_CPU] = vcpus - 1;
  let index = 0;
  return byteDevice(INDEX, INDEX + 1, {
    read(offset) {
      if (offset === 0) return 0xff; // write-only
      return timeCell(index, now(), (cells[REGISTER_B]! & BINARY) !== 0) ?? cells[index]!;
    },
    write(offset, value) {
      if (offset === 0) index = value & INDEX_MASK;
      else if (index === REGISTER_B) cells[REGISTER_B] = value | HOURS_24;
      else if (index !== REGISTER_C && index !== REGISTER_D) cells[index] = value;
    },
  });
}

/** Value of a cell that the clock keeps; the time cannot be set. Update in progress is never seen. */
function timeCell(index: number, now: Date, binary: boolean): number | undefined {
  const coded = (value: number) => (binary ? value : Math.floor(value / 10) * 16 + (value % 10));
  switch (index) {
    case CLOCK_CELLS.seconds:
      return coded(now.getUTCSeconds());
    case CLOCK_CELLS.minutes:
      return coded(now.getUTCMinutes());
    case CLOCK_CELLS.hours:
      return coded(now.getUTCHours());
    case CLOCK_CELLS.weekday:
      return coded(now.getUTCDay() + 1);
    case CLOCK_CELLS.day:
      return coded(now.getUTCDate());
    case CLOCK_CELLS.month:
      return coded(now.getUTCMonth() + 1);
    case CLOCK_CELLS.year:
      return coded(now.getUTCFullYear() % 100);
    case CENTURY:
      return coded(Math.floor(now.getUTCFullYear() / 100));
    case REGISTER_D:
      return VALID_RAM_AND_TIME;
    default:
      return undefined;
  }
}

function putRamSizes(cells: Uint8Array, ram: CmosOptions['ram']): void {
  const sizeWithin = (first: bigint, end: bigint) =>
    ram.reduce((sum, { gpa, size }) => {
      const from = gpa > first ? gpa : first;
      const to = gpa + size < end ? gpa + size : end;
      return to > from ? sum + to - from : sum;
    }, 0n);
  const put = (index: number, bytes: number, value: bigint) => {
    const most = (1n << BigInt(8 * bytes)) - 1n;
    const kept = value < most ? value : most;
    for (let i = 0; i < bytes; i++) cells[index + i] = Number((kept >> BigInt(8 * i)) & 0xffn);
  };
  put(BASE_KIB, 2, sizeWithin(0n, 640n * 1024n) / 1024n);
  for (const index of EXTENDED_KIB) put(index, 2, sizeWithin(MIB, GIB_4) / 1024n);
  put(ABOVE_16M, 2, sizeWithin(MIB_16, GIB_4) / 65536n);
  put(ABOVE_4G, 3, sizeWithin(GIB_4, 1n << 52n) / 65536n);
}
