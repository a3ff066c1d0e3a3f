import { describe, expect, it } from 'vitest';
import { guestOf } from './ports.js';

describe('devices of a PC that only have to be there', () => {
  it('the debug port says that somebody listens, and gives the text on', () => {
    let text = '';
    const guest = guestOf({
      onDebugText: (more) => {
        text += more;
      },
    });
    expect(guest.in(0x402)).toBe(0xe9);
    for (const character of 'SecCore\n') guest.out(0x402, character.charCodeAt(0));
    expect(text).toBe('SecCore\n');
  });

  it('port 0x80 tells how far the firmware is', () => {
    const codes: number[] = [];
    guestOf({ onPostCode: (code) => codes.push(code) }).out(0x80, 0x34);
    expect(codes).toEqual([0x34]);
  });

  it.each([
    [0x20, 0x21],
    [0xa0, 0xa1],
  ])('the interrupt controller at 0x%s keeps its mask through an initialisation', (command, data) => {
    const guest = guestOf();
    guest.out(data, 0xff);
    expect(guest.in(data)).toBe(0xff);
    guest.out(command, 0x11); // ICW1: cascade, ICW4 follows
    for (const word of [0x68, 0x04, 0x01]) guest.out(data, word);
    expect(guest.in(data)).toBe(0);
    guest.out(data, 0xfb);
    expect(guest.in(data)).toBe(0xfb);
    expect(guest.in(command)).toBe(0);
  });

  it('the 8254 counts down at 1.193182 MHz: low byte, high byte', () => {
    let now = 0;
    const guest = guestOf({ clock: () => now });
    guest.out(0x43, 0x34); // channel 0, low then high byte, mode 2
    guest.out(0x40, 0x00);
    guest.out(0x40, 0x40);
    now = 1; // 1193 ticks
    guest.out(0x43, 0x00); // latch
    now = 5;
    expect(guest.in(0x40) + guest.in(0x40) * 256).toBe(0x4000 - 1193);
  });

  it('the 8254 gives and takes a single byte where the control word says so', () => {
    const guest = guestOf();
    guest.out(0x43, 0xa0); // counter 2, high byte only
    guest.out(0x42, 0x12);
    expect([guest.in(0x42), guest.in(0x42)]).toEqual([0x12, 0x12]);
    guest.out(0x43, 0x50); // counter 1, low byte only
    guest.out(0x41, 0x34);
    expect([guest.in(0x41), guest.in(0x41)]).toEqual([0x34, 0x34]);
    expect(guest.in(0x43)).toBe(0xff);
  });

  it('port B toggles its refresh bit every 15 microseconds', () => {
    let now = 0;
    const guest = guestOf({ clock: () => now });
    const bits = [0, 0.016, 0.031].map((ms) => {
      now = ms;
      return guest.in(0x61) & 0x10;
    });
    expect(bits).toEqual([0, 0x10, 0]);
    guest.out(0x61, 0x01);
    expect(guest.in(0x61) & 0x0f).toBe(1);
  });

  it('there is no keyboard: parity error and time-out at once, as drivers look for it', () => {
    const guest = guestOf();
    expect([guest.in(0x64), guest.in(0x60)]).toEqual([0xff, 0xff]);
    expect(guest.out(0x64, 0xaa)).toBeUndefined();
    expect(guest.in(0x64)).toBe(0xff);
  });

  it('a wide access is one to each byte; behind the last register there is nobody', () => {
    const guest = guestOf();
    guest.out(0x4d0, 0x1234, 2);
    expect(guest.in(0x4d0)).toBe(0x34);
    expect(guest.in(0x402, 2)).toBe(0xffe9);
  });

  it('no two devices share a port', () => {
    const { ports } = guestOf().platform;
    const inOrder = [...ports].sort((a, b) => a.first - b.first);
    for (const [i, { first }] of inOrder.entries()) expect(first).toBeGreaterThan(inOrder[i - 1]?.last ?? -1);
  });
});
