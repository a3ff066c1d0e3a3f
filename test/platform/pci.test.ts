import { describe, expect, it } from 'vitest';
import { guestOf } from './ports.js';

const LPC = 31;

describe('PCI configuration space of the q35 platform', () => {
  it('has the 82G33 host bridge at 0:0.0 and the ICH9 LPC bridge at 0:31.0', () => {
    const { config } = guestOf();
    expect(config(0, 0)).toBe(0x29c0_8086);
    expect(config(0, 0x0a, 2)).toBe(0x0600);
    expect(config(LPC, 0)).toBe(0x2918_8086);
    expect(config(LPC, 0x0a, 2)).toBe(0x0601);
    expect(config(LPC, 0x0e, 1)).toBe(0x80);
  });

  it('says by its subsystem that QEMU is the model', () => {
    expect(guestOf().config(0, 0x2c)).toBe(0x1100_1af4);
  });

  it('reads all ones where there is no function', () => {
    const { config } = guestOf();
    for (const device of [1, 2, 30]) expect(config(device, 0)).toBe(0xffff_ffff);
    expect(config(1, 0, 2)).toBe(0xffff);
    expect(config(1, 0, 1)).toBe(0xff);
  });

  it('ignores writes to what is read-only, and to functions that are not there', () => {
    const { config, setConfig } = guestOf();
    setConfig(0, 0, 0);
    setConfig(5, 0, 0);
    expect(config(0, 0)).toBe(0x29c0_8086);
    expect(config(5, 0)).toBe(0xffff_ffff);
  });

  it('gives the address back, and answers nothing while bit 31 is clear', () => {
    const guest = guestOf();
    guest.out(0xcf8, 0x8000_f840, 4);
    expect(guest.in(0xcf8, 4)).toBe(0x8000_f840);
    guest.out(0xcf8, 0x0000_0000, 4);
    expect(guest.in(0xcfc, 4)).toBe(0xffff_ffff);
  });

  it('reads a byte of a register at 0xcfc to 0xcff', () => {
    const { config } = guestOf();
    expect([0, 1, 2, 3].map((i) => config(0, i, 1))).toEqual([0x86, 0x80, 0xc0, 0x29]);
  });
});

describe('PCIe ECAM', () => {
  const switchOn = (guest: ReturnType<typeof guestOf>, base: number, length = 0) => {
    guest.setConfig(0, 0x64, 0);
    guest.setConfig(0, 0x60, base + length * 2 + 1);
  };

  it('is off after reset: nobody answers', () => {
    expect(guestOf().load(0xe000_0000n)).toBe(0xffff_ffffn);
  });

  it.each([0xb000_0000, 0xe000_0000])('is where PCIEXBAR puts it: 0x%s', (base) => {
    const guest = guestOf();
    switchOn(guest, base);
    const register = (device: number, offset: number) => BigInt(base + device * 0x8000 + offset);
    expect(guest.load(register(0, 0))).toBe(0x29c0_8086n);
    expect(guest.load(register(LPC, 2), 2)).toBe(0x2918n);
    expect(guest.load(register(2, 0))).toBe(0xffff_ffffn);
    guest.store(register(LPC, 0x40), 0x600n);
    expect(guest.config(LPC, 0x40)).toBe(0x601);
  });

  it.each([
    [0, 256],
    [1, 128],
    [2, 64],
  ])('length %i has %i buses', (length, buses) => {
    const guest = guestOf();
    switchOn(guest, 0xb000_0000, length);
    // Extended configuration space of 0:0.0 reads as zeros; behind the last bus there is nobody.
    expect(guest.load(0xb000_0100n)).toBe(0n);
    expect(guest.load(0xb000_0000n + BigInt(buses) * 0x10_0000n)).toBe(0xffff_ffffn);
    expect(guest.load(0xb000_0000n + BigInt(buses - 1) * 0x10_0000n)).toBe(0xffff_ffffn);
  });

  it('takes eight bytes at once', () => {
    const guest = guestOf();
    switchOn(guest, 0xb000_0000);
    expect(guest.load(0xb000_0000n, 8)).toBe(0x0000_0007_29c0_8086n);
  });
});
