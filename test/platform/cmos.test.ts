import { describe, expect, it } from 'vitest';
import { guestOf } from './ports.js';

const u16 = (guest: ReturnType<typeof guestOf>, index: number) => guest.cmos(index) + guest.cmos(index + 1) * 256;

describe('the real time clock', () => {
  const date = new Date('2024-02-29T23:58:07Z');

  it('tells the date that it was given, in BCD', () => {
    const { cmos } = guestOf({ date });
    const time = [0x32, 0x09, 0x08, 0x07, 0x04, 0x02, 0x00].map(cmos);
    expect(time.map((value) => value.toString(16))).toEqual(['20', '24', '2', '29', '23', '58', '7']);
    expect(cmos(0x06)).toBe(5); // Thursday
  });

  it('tells it in binary once register B says so', () => {
    const guest = guestOf({ date });
    guest.out(0x70, 0x0b);
    guest.out(0x71, 0x06);
    expect([0x04, 0x02].map(guest.cmos)).toEqual([23, 58]);
  });

  it('runs on with the clock', () => {
    let now = 1000;
    const { cmos } = guestOf({ date, clock: () => now });
    now += 113_000;
    expect([0x07, 0x04, 0x02, 0x00].map(cmos)).toEqual([0x01, 0x00, 0x00, 0x00]);
  });

  it('never updates while it is read, and has valid memory', () => {
    const { cmos } = guestOf();
    expect(cmos(0x0a) & 0x80).toBe(0);
    expect(cmos(0x0d)).toBe(0x80);
  });
});

describe('the size of RAM in CMOS', () => {
  it.each([
    [256n << 20n, { base: 640, extended: 0xffff, above16M: (240 << 20) / 65536, above4G: 0 }],
    [32n << 20n, { base: 640, extended: 31 * 1024, above16M: (16 << 20) / 65536, above4G: 0 }],
    [8n << 30n, { base: 640, extended: 0xffff, above16M: (2048 - 16) * 16, above4G: (6 * 2 ** 30) / 65536 }],
  ])('of %i bytes', (memory, { base, extended, above16M, above4G }) => {
    const guest = guestOf({ memory });
    expect(u16(guest, 0x15)).toBe(base);
    expect(u16(guest, 0x17)).toBe(extended);
    expect(u16(guest, 0x30)).toBe(extended);
    expect(u16(guest, 0x34)).toBe(above16M);
    expect(u16(guest, 0x5b) + guest.cmos(0x5d) * 65536).toBe(above4G);
  });

  it('and the number of the last vCPU', () => {
    expect(guestOf({ vcpus: 4 }).cmos(0x5f)).toBe(3);
  });

  it('bit 7 of the index is the NMI mask, not a part of it', () => {
    expect(guestOf().cmos(0x80 + 0x15)).toBe(640 & 0xff);
  });

  it('other cells keep what is written', () => {
    const guest = guestOf();
    guest.out(0x70, 0x38);
    guest.out(0x71, 0x5a);
    expect(guest.cmos(0x38)).toBe(0x5a);
  });
});
