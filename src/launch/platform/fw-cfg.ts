// QEMU's fw_cfg: files that the host hands to firmware (docs/specs/fw_cfg.rst). Port 0x510 selects, 0x511 gives byte after
// byte. Without DMA: in a TD that would need shared memory.
import type { PlatformPorts } from './device.js';

const SELECTOR = 0x510;
const DATA = 0x511;
const LAST = 0x51b;

const [SIGNATURE, INTERFACE, CPUS, MAX_CPUS, FILE_DIRECTORY, FIRST_FILE] = [0x00, 0x01, 0x05, 0x0f, 0x19, 0x20];
const TRADITIONAL_INTERFACE = 1;
const NAME_BYTES = 56;
const ENTRY_BYTES = 8 + NAME_BYTES;

const E820_RAM = 1;
const E820_ENTRY_BYTES = 20;

/** A list of e820 entries: address, size, type. */
export function e820(ram: readonly { gpa: bigint; size: bigint }[]): Uint8Array {
  const table = new DataView(new ArrayBuffer(E820_ENTRY_BYTES * ram.length));
  for (const [i, { gpa, size }] of ram.entries()) {
    table.setBigUint64(i * E820_ENTRY_BYTES, gpa, true);
    table.setBigUint64(i * E820_ENTRY_BYTES + 8, size, true);
    table.setUint32(i * E820_ENTRY_BYTES + 16, E820_RAM, true);
  }
  return new Uint8Array(table.buffer);
}

/** Count, then for each file, by name: size, selector, reserved, name; numbers are big-endian. */
function directory(files: readonly (readonly [string, Uint8Array])[]): Uint8Array {
  const bytes = new Uint8Array(4 + ENTRY_BYTES * files.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, files.length);
  for (const [i, [name, content]] of files.entries()) {
    const at = 4 + ENTRY_BYTES * i;
    view.setUint32(at, content.byteLength);
    view.setUint16(at + 4, FIRST_FILE + i);
    bytes.set(new TextEncoder().encode(name), at + 8);
  }
  return bytes;
}

const u16 = (value: number) => Uint8Array.of(value & 0xff, value >> 8);

export interface FwCfgOptions {
  vcpus: number;
  /** Files by name, at most 55 bytes each. */
  files: Readonly<Record<string, Uint8Array>>;
  /** Called with the name of each file, or key in hexadecimal, that the guest selects. */
  onSelect?(item: string): void;
}

/** @throws RangeError for a name that is empty or too long. */
export function fwCfg({ vcpus, files, onSelect }: FwCfgOptions): PlatformPorts {
  const byName = Object.entries(files).sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [name] of byName) {
    const bytes = new TextEncoder().encode(name).length;
    if (bytes === 0 || bytes >= NAME_BYTES) {
      throw new RangeError(`fw_cfg file '${name}': its name has ${bytes} bytes, expected 1 to ${NAME_BYTES - 1}`);
    }
  }
  const items = new Map<number, Uint8Array>([
    [SIGNATURE, new TextEncoder().encode('QEMU')],
    [INTERFACE, Uint8Array.of(TRADITIONAL_INTERFACE, 0, 0, 0)],
    [CPUS, u16(vcpus)],
    [MAX_CPUS, u16(vcpus)],
    [FILE_DIRECTORY, directory(byName)],
    ...byName.map(([, content], i) => [FIRST_FILE + i, content] as const),
  ]);
  let selected: Uint8Array = new Uint8Array();
  let at = 0;
  const next = () => selected[at++] ?? 0;
  return {
    first: SELECTOR,
    last: LAST,
    read(port, size) {
      let value = 0;
      if (port === DATA) for (let i = 0; i < size; i++) value += next() * 2 ** (8 * i);
      return value;
    },
    write(port, size, value) {
      if (port !== SELECTOR || size !== 2) return;
      selected = items.get(value) ?? new Uint8Array();
      at = 0;
      onSelect?.(byName[value - FIRST_FILE]?.[0] ?? `0x${value.toString(16)}`);
    },
  };
}
