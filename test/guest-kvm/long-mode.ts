import type { EngineTd, EngineVcpu, GuestEngine, GuestEvent } from '../../src/mock/guest/engine.js';
import { TestSpace } from './space.js';

const STUB = 0xffff_f000;
const TABLES = 0x1_0000;
const GDT = 0xe00;

/** Where the tested code begins, in 64-bit mode, with RSP at STACK. */
export const CODE = 0x1000;
export const DATA = 0x2000;
export const IDT = 0x3000;
export const STACK = 0x8000;
/** Linear addresses of 2 MiB of shared memory (GPA 0 with the SHARED bit), and of private memory that is not mapped. */
export const SHARED = 0x20_0000;
export const UNMAPPED = 0x40_0000;

const u32 = (value: number): number[] => [value, value >> 8, value >> 16, value >> 24].map((byte) => byte & 0xff);

/** 32-bit code of the reset vector's page: long mode, flat segments, a stack, then the code at CODE. */
const stub = (): Uint8Array => {
  const page = new Uint8Array(4096).fill(0xcc);
  const view = new DataView(page.buffer);
  [0n, 0x00af_9b00_0000_ffffn, 0x00cf_9300_0000_ffffn].forEach((each, i) => {
    view.setBigUint64(GDT + 8 * i, each, true);
  });
  view.setUint16(GDT + 24, 23, true);
  view.setUint32(GDT + 26, STUB + GDT, true);
  const start = 0x100;
  const enter = [
    ...[0x2e, 0x0f, 0x01, 0x15, ...u32(STUB + GDT + 24)], // lgdt cs:[...]
    ...[0x0f, 0x20, 0xe0, 0x0d, ...u32(0x220), 0x0f, 0x22, 0xe0], // CR4.PAE, OSFXSR
    ...[0xb8, ...u32(TABLES), 0x0f, 0x22, 0xd8], // CR3
    ...[0x0f, 0x20, 0xc0, 0x0d, ...u32(0x8000_0000), 0x0f, 0x22, 0xc0], // CR0.PG
  ];
  const long = STUB + start + enter.length + 7;
  page.set(
    [
      ...enter,
      ...[0xea, ...u32(long), 8, 0], // ljmp 8:long
      ...[0xb8, ...u32(16), 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0], // ds, es, ss
      ...[0xbc, ...u32(STACK), 0xb8, ...u32(CODE), 0xff, 0xe0], // esp, jmp rax
    ],
    start,
  );
  page.set([0xe9, ...u32(start - 0xff5)], 0xff0);
  return page;
};

function tables(sharedBit: number): Uint8Array {
  const words = new BigUint64Array(4 * 512);
  const [directory, top] = [TABLES + 0x2000, TABLES + 0x3000];
  words[0] = BigInt(TABLES + 0x1000) | 0x23n;
  words[512] = BigInt(directory) | 0x23n;
  words[512 + 3] = BigInt(top) | 0x23n;
  words[1024] = 0xe3n;
  words[1025] = BigInt(sharedBit) | 0xe3n;
  words[1026] = 0x40_0000n | 0xe3n;
  words[1536 + 511] = 0xffe0_0000n | 0xe3n;
  return new Uint8Array(words.buffer);
}

export interface Guest {
  space: TestSpace;
  td: EngineTd;
  vcpu: EngineVcpu;
}

/** A TD with one vCPU that is about to start; its own code is in 64-bit mode. */
export function longMode(engine: GuestEngine, code: readonly number[], space = new TestSpace()): Guest {
  const pages: [number, number, Uint8Array][] = [
    [STUB, 0x1000, stub()],
    [CODE, 0x7000, Uint8Array.from(code)],
    [TABLES, 0x4000, tables(space.sharedBit)],
  ];
  const td = engine.openTd(space);
  for (const [gpa, size, content] of pages) {
    space.addPrivate(gpa, size, content);
    td.pagesMapped(gpa, size);
  }
  return { space, td, vcpu: td.createVcpu(0, new BigUint64Array(16)) };
}

/** Runs until the next event; a guest that none comes from fails the test instead of stopping it. */
export const next = (vcpu: EngineVcpu): Promise<GuestEvent> => vcpu.run(AbortSignal.timeout(10_000));

/** An IDT with one 64-bit interrupt gate. */
export function gate(vector: number, handler: number): Uint8Array {
  const table = new Uint8Array(16 * (vector + 1));
  const view = new DataView(table.buffer, 16 * vector);
  view.setUint16(0, handler & 0xffff, true);
  view.setUint16(2, 8, true);
  view.setUint16(4, 0x8e00, true);
  view.setUint16(6, handler >> 16, true);
  return table;
}

export const HLT = 0xf4;
export const imm32 = u32;
