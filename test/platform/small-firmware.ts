// The smallest image that behaves like firmware: a firmware volume whose code goes to 64-bit mode, accepts a page of
// memory, extends an RTMR, prints a text, gives back what it is told until q, and ends with 0 through the exit port.
import { buildTdvf } from '../image/build-tdvf.js';

const BASE = 0xffff_0000;
const [PML4, PDPT, PD, GDT, CODE, START, MEASURED] = [0x1000, 0x2000, 0x3000, 0x4000, 0x5000, 0x6000, 0x7000];
const RESET = 0xfff0;
const GPA = 0x10_0000;
const TDCALL = [0x66, 0x0f, 0x01, 0xcc];
const [IO, READ, WRITE] = [30, 0, 1];
const TO_R10 = 0xba;

const u32 = (value: number): number[] => [0, 8, 16, 24].map((bits) => (value >>> bits) & 0xff);

/** TDCALL with registers: RAX, RCX, RDX, and R10 onwards. */
const tdcall = (rax: number, rcx: number, rdx = 0, ...fromR10: number[]): number[] => [
  ...[0xb8, ...u32(rax), 0xb9, ...u32(rcx), 0xba, ...u32(rdx)],
  ...fromR10.flatMap((value, i) => [0x41, TO_R10 + i, ...u32(value)]),
  ...TDCALL,
];

function echo(mask: number): number[] {
  const inb = (port: number): number[] => tdcall(0, mask, 0, 0, IO, 1, READ, port, 0);
  const poll = [...inb(0x3fd), 0x41, 0xf6, 0xc3, 1]; // test r11b, 1
  const receive = [...inb(0x3f8), 0x44, 0x89, 0xdb]; // mov ebx, r11d
  // Sends EBX in R15D.
  const send = tdcall(0, mask, 0, 0, IO, 1, WRITE, 0x3f8);
  send.splice(send.length - TDCALL.length, 0, 0x41, 0x89, 0xdf);
  const jump = (code: number[], distance: number): number[] => [...code, ...u32(distance)];
  const back = poll.length + 6 + receive.length + 3 + 6 + send.length + 5;
  return [
    ...[...poll, ...jump([0x0f, 0x84], -(poll.length + 6))], // jz poll
    ...[...receive, 0x80, 0xfb, 'q'.charCodeAt(0), ...jump([0x0f, 0x84], send.length + 5)], // cmp bl, 'q'; je end
    ...[...send, ...jump([0xe9], -back)], // jmp poll
  ];
}

export interface SmallFirmware {
  /** Registers that its TDG.VP.VMCALLs share. */
  mask: number;
  text: string;
  /** Polls its console for bytes and prints them, up to a q. */
  echoes?: boolean;
}

export function smallFirmware({ mask, text, echoes = false }: SmallFirmware): Uint8Array {
  const image = buildTdvf();
  const put = (at: number, bytes: readonly number[]): void => image.set(bytes, at);
  const entry = (at: number, value: bigint): unknown => image.writeBigUInt64LE(value, at);
  put(40, Array.from(Buffer.from('_FVH')));
  for (const table of [PML4, PDPT, PD]) image.fill(0, table, table + 0x1000);
  entry(PML4, BigInt(BASE + PDPT) | 0x23n);
  entry(PDPT + 3 * 8, BigInt(BASE + PD) | 0x23n);
  entry(PD + 511 * 8, 0xffe0_00e3n);
  for (const [i, descriptor] of [0n, 0x00af_9b00_0000_ffffn].entries()) entry(GDT + 8 * i, descriptor);
  image.writeUInt16LE(15, GDT + 0x10);
  image.writeUInt32LE(BASE + GDT, GDT + 0x12);
  put(START, [
    ...[0x0f, 0x01, 0x15, ...u32(BASE + GDT + 0x10)], // lgdt
    ...[0x0f, 0x20, 0xe0, 0x83, 0xc8, 0x20, 0x0f, 0x22, 0xe0], // CR4.PAE
    ...[0xb8, ...u32(BASE + PML4), 0x0f, 0x22, 0xd8], // CR3
    ...[0x0f, 0x20, 0xc0, 0x0d, ...u32(0x8000_0000), 0x0f, 0x22, 0xc0], // CR0.PG
    ...[0xea, ...u32(BASE + CODE), 8, 0], // far jump
  ]);
  const outb = (port: number, value: number): number[] => tdcall(0, mask, 0, 0, IO, 1, WRITE, port, value);
  put(CODE, [
    ...tdcall(6, GPA), // TDG.MEM.PAGE.ACCEPT
    ...tdcall(2, BASE + MEASURED, 1), // TDG.MR.RTMR.EXTEND
    ...Array.from(Buffer.from(text), (byte) => outb(0x3f8, byte)).flat(),
    ...(echoes ? echo(mask) : []),
    ...outb(0xf4, 0),
    ...[0x0f, 0x0b], // ud2
  ]);
  put(RESET, [0xe9, ...u32(START - (RESET + 5))]);
  return image;
}
