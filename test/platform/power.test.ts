import { describe, expect, it } from 'vitest';
import { guestOf } from './ports.js';

const LPC = 31;
const switchOn = (guest: ReturnType<typeof guestOf>, base = 0x600) => {
  guest.setConfig(LPC, 0x40, base | 1);
  guest.setConfig(LPC, 0x44, 0x80, 1);
};

describe('ACPI registers at PMBASE', () => {
  it('are not there before firmware switches them on', () => {
    const guest = guestOf();
    expect(guest.in(0x608, 4)).toBe(0xffff_ffff);
    guest.setConfig(LPC, 0x40, 0x601);
    expect(guest.in(0x608, 4)).toBe(0xffff_ffff);
    guest.setConfig(LPC, 0x44, 0x80, 1);
    expect(guest.in(0x608, 4)).toBe(0);
  });

  it('are not there if PMBASE is elsewhere', () => {
    const guest = guestOf();
    switchOn(guest, 0x400);
    expect(guest.in(0x608, 4)).toBe(0xffff_ffff);
  });

  it('the timer counts at 3.579545 MHz in 24 bits', () => {
    let now = 0;
    const guest = guestOf({ clock: () => now });
    switchOn(guest);
    const ticksAt = (ms: number) => {
      now = ms;
      return guest.in(0x608, 4);
    };
    expect(ticksAt(1000)).toBe(3_579_545);
    expect(ticksAt(1)).toBe(3579);
    expect(ticksAt(4687)).toBe(Math.floor(4687 * 3579.545) - 0x100_0000);
  });

  it('status bits are cleared by ones, the timer cannot be written', () => {
    const guest = guestOf();
    switchOn(guest);
    guest.out(0x600, 0xffff, 2);
    guest.out(0x608, 0x1234, 4);
    expect([guest.in(0x600, 2), guest.in(0x608, 4)]).toEqual([0, 0]);
    guest.out(0x602, 0x0121, 2);
    expect(guest.in(0x602, 2)).toBe(0x0121);
  });

  it('SLP_EN switches the machine off', () => {
    const guest = guestOf();
    switchOn(guest);
    expect(guest.out(0x604, 0x0001, 2)).toBeUndefined();
    expect(guest.out(0x604, 0x2001, 2)).toEqual({ stop: 'The guest switched the machine off' });
    expect(guest.in(0x604, 2)).toBe(1);
  });
});

describe('reset', () => {
  it.each<[string, number, number[]]>([
    ['the reset control register, bit 2 rising', 0xcf9, [0x02, 0x06]],
    ['the keyboard controller, 0xfe', 0x64, [0xfe]],
    ['port 0x92, bit 0', 0x92, [0x03]],
  ])('by %s', (_, port, values) => {
    const guest = guestOf();
    const answers = values.map((value) => guest.out(port, value));
    expect(answers.pop()).toEqual({ stop: 'The guest reset the machine' });
    expect(answers.filter((answer) => answer !== undefined)).toEqual([]);
  });

  it('not by preparing it', () => {
    const guest = guestOf();
    expect([guest.out(0xcf9, 0x02), guest.out(0x92, 0x02)]).toEqual([undefined, undefined]);
    expect([guest.in(0xcf9), guest.in(0x92)]).toEqual([0x02, 0x02]);
  });
});
