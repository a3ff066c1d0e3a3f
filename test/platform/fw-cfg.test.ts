import { describe, expect, it } from 'vitest';
import { q35Platform } from '../../src/launch/platform/index.js';
import { guestOf } from './ports.js';

const select = (guest: ReturnType<typeof guestOf>, key: number, length: number) => {
  guest.out(0x510, key, 2);
  return Uint8Array.from({ length }, () => guest.in(0x511));
};
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('latin1').replace(/\0+$/, '');

/** The files as a guest lists them. */
function files(guest: ReturnType<typeof guestOf>) {
  guest.out(0x510, 0x19, 2);
  const next = (length: number) => Buffer.from(Uint8Array.from({ length }, () => guest.in(0x511)));
  return Array.from({ length: next(4).readUInt32BE() }, () => {
    const entry = next(64);
    return { size: entry.readUInt32BE(), key: entry.readUInt16BE(4), name: text(entry.subarray(8)) };
  });
}

describe('fw_cfg', () => {
  it('is signed QEMU, has the traditional interface and no DMA', () => {
    const guest = guestOf();
    expect(text(select(guest, 0, 4))).toBe('QEMU');
    expect([...select(guest, 1, 4)]).toEqual([1, 0, 0, 0]);
    expect(guest.in(0x514, 4)).toBe(0);
  });

  it('knows the number of vCPUs', () => {
    const guest = guestOf({ vcpus: 3 });
    expect([...select(guest, 5, 2), ...select(guest, 0x0f, 2)]).toEqual([3, 0, 3, 0]);
  });

  it('lists its files by name, with keys from 0x20 on', () => {
    const guest = guestOf({ files: { 'opt/b': Uint8Array.of(1, 2), 'opt/a': Uint8Array.of(7) } });
    expect(files(guest)).toEqual([
      { size: 20, key: 0x20, name: 'etc/e820' },
      { size: 1, key: 0x21, name: 'opt/a' },
      { size: 2, key: 0x22, name: 'opt/b' },
    ]);
    expect([...select(guest, 0x22, 4)]).toEqual([1, 2, 0, 0]);
  });

  it('etc/e820 is the RAM: address, size, type 1', () => {
    const guest = guestOf({ memory: 6n << 30n });
    const table = Buffer.from(select(guest, 0x20, 40));
    const entry = (at: number) => [
      table.readBigUInt64LE(at),
      table.readBigUInt64LE(at + 8),
      table.readUInt32LE(at + 16),
    ];
    expect(entry(0)).toEqual([0n, 0x8000_0000n, 1]);
    expect(entry(20)).toEqual([0x1_0000_0000n, 0x1_0000_0000n, 1]);
  });

  it('an item that is not there reads as zeros', () => {
    expect([...select(guestOf(), 0x7fff, 3)]).toEqual([0, 0, 0]);
  });

  it('reads from the start again when selected again, and tells what is selected', () => {
    const items: string[] = [];
    const guest = guestOf({ onFwCfg: (item) => items.push(item) });
    expect([text(select(guest, 0, 2)), text(select(guest, 0, 2))]).toEqual(['QE', 'QE']);
    select(guest, 0x20, 1);
    expect(items).toEqual(['0x0', '0x0', 'etc/e820']);
  });

  it.each(['', 'x'.repeat(56)])('a name of a wrong length is refused: %j', (name) => {
    expect(() => q35Platform({ memory: 1 << 20, files: { [name]: new Uint8Array() } })).toThrow(/expected 1 to 55$/);
  });
});
