// What every GuestEngine does, as tests: `describeEngine` runs them on the engine that it is given.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { EngineTd, EngineVcpu, GuestEngine, GuestEvent } from '../../src/mock/guest/engine.js';
import { FakeSpace } from './fake-space.js';

const [RAX, RCX, RDX, RBX, RSP] = [0, 1, 2, 3, 4] as const;
/** The page with the reset vector. */
const TOP = 0xffff_f000;
const RESET = 0xff0;
const SHARED = 2 ** 47;

const TDCALL = [0x66, 0x0f, 0x01, 0xcc];
const TO_START = [0xe9, 0x0b, 0xf0, 0xff, 0xff]; // jmp TOP, from the reset vector
const HLT = 0xf4;

// Where guests in long mode have what they need.
const PML4 = 0x1000;
const PDPT = 0x2000;
const TABLES = 0x3000; // GDT at 0, IDT at 0x400, pointers at 0x300
const CODE = 0x4000;
const STACK = 0x5000;
const HANDLERS = 0x6000;
const DATA = 0x7000;
const DIRECTORIES = TOP - 0x3000;
/** 64-bit code; its handler of vector n is at HANDLERS + 16 n. */
interface Guest64 {
  code: number[];
  handlers?: Record<number, number[]>;
}

const u32 = (value: number): number[] => [
  value & 0xff,
  (value >> 8) & 0xff,
  (value >> 16) & 0xff,
  (value >>> 24) & 0xff,
];

/** 32-bit code at the reset vector that turns long mode on and jumps to CODE. */
const ENTER_LONG_MODE = [
  ...[0x0f, 0x01, 0x15, ...u32(TABLES + 0x300)], // lgdt
  ...[0x0f, 0x20, 0xe0, 0x83, 0xc8, 0x20, 0x0f, 0x22, 0xe0], // CR4.PAE
  ...[0xb8, ...u32(PML4), 0x0f, 0x22, 0xd8], // CR3
  ...[0x0f, 0x20, 0xc0, 0x0d, ...u32(0x8000_0000), 0x0f, 0x22, 0xc0], // CR0.PG
  ...[0xea, ...u32(CODE), 0x08, 0x00], // far jump
];
const START_64 = [
  ...[0x31, 0xc0, 0x8e, 0xd0, 0x8e, 0xd8, 0x8e, 0xc0], // null ss, ds, es
  ...[0xbc, ...u32(STACK + 0x1000)], // mov esp
  ...[0x0f, 0x01, 0x1c, 0x25, ...u32(TABLES + 0x310)], // lidt
];

function mapLongMode(space: FakeSpace, { code, handlers = {} }: Guest64): void {
  const low = new Uint8Array(DATA + 0x1000);
  const view = new DataView(low.buffer);
  view.setBigUint64(PML4, BigInt(PDPT) | 3n, true);
  // The first and the fourth GiB as they are; the second is the first, shared. In 2 MiB pages: not every processor has larger ones.
  const directories = new BigUint64Array(3 * 512);
  for (const [n, [gib, base]] of [
    [0, 0n],
    [1, BigInt(SHARED)],
    [3, 0xc000_0000n],
  ].entries() as Iterable<[number, [number, bigint]]>) {
    view.setBigUint64(PDPT + 8 * gib, BigInt(DIRECTORIES + 0x1000 * n) | 3n, true);
    for (let i = 0; i < 512; i++) directories[512 * n + i] = (base + BigInt(i) * 0x20_0000n) | 0x83n;
  }
  space.map(DIRECTORIES, new Uint8Array(directories.buffer));
  view.setBigUint64(TABLES + 8, 0x00af_9b00_0000_ffffn, true);
  view.setBigUint64(TABLES + 16, 0x00cf_9300_0000_ffffn, true);
  view.setUint16(TABLES + 0x300, 0x17, true);
  view.setUint32(TABLES + 0x302, TABLES, true);
  view.setUint16(TABLES + 0x310, 0x3ff, true);
  view.setUint32(TABLES + 0x312, TABLES + 0x400, true);
  for (const [vector, bytes] of Object.entries(handlers)) {
    const at = HANDLERS + 16 * Number(vector);
    low.set(bytes, at);
    view.setBigUint64(TABLES + 0x400 + 16 * Number(vector), BigInt(at) | (8n << 16n) | (0x8en << 40n), true);
  }
  low.set([...START_64, ...code], CODE);
  space.map(0, low);
  const top = new Uint8Array(0x1000);
  top.set(ENTER_LONG_MODE);
  top.set(TO_START, RESET);
  space.map(TOP, top);
}

/** @param open makes a fresh engine. */
export function describeEngine(name: string, open: () => GuestEngine): void {
  describe(`the ${name} engine`, () => {
    let space: FakeSpace;
    let engine: GuestEngine;
    let td: EngineTd;

    beforeEach(() => {
      space = new FakeSpace();
      engine = open();
      td = engine.openTd(space);
    });
    afterEach(() => {
      td.close();
      engine.close();
    });

    const map32 = (code: readonly number[]): void => {
      const top = new Uint8Array(0x1000);
      top.set(code);
      top.set(TO_START, RESET);
      space.map(TOP, top);
    };
    const start = (gprs: Partial<Record<number, bigint>> = {}, index = 0): EngineVcpu => {
      const registers = new BigUint64Array(16);
      for (const [n, value] of Object.entries(gprs)) registers[Number(n)] = value as bigint;
      return td.createVcpu(index, registers);
    };
    const run = (vcpu: EngineVcpu): Promise<GuestEvent> => vcpu.run(AbortSignal.timeout(10_000));
    const skip = (vcpu: EngineVcpu, event: GuestEvent): void => {
      vcpu.rip += BigInt((event as { length: number }).length);
    };

    it('starts in 32-bit protected mode at the reset vector, with the registers it is given', async () => {
      map32([0xf4]);
      const vcpu = start({ [RBX]: 48n, [RCX]: 0x1234_5678_9abcn });
      expect(vcpu.rip).toBe(0xffff_fff0n);
      expect(vcpu.mode).toMatchObject({ cpl: 0, longMode: false, efer: 0x901n, xcr0: 1n });
      expect(vcpu.mode.cr0 & 0x8000_0021n).toBe(0x21n);
      expect([vcpu.gprs[RBX], vcpu.gprs[RCX]]).toEqual([48n, 0x1234_5678_9abcn]);
      expect(await run(vcpu)).toEqual({ kind: 'instruction', name: 'hlt', length: 1 });
      expect(vcpu.rip).toBe(BigInt(TOP));
    });

    it('TDCALL in 32-bit mode is an event at the instruction; the vCPU goes on from the registers it is given back', async () => {
      map32([0xb8, 1, 0, 0, 0, ...TDCALL, 0x01, 0xd0, HLT]); // mov eax, 1; tdcall; add eax, edx; hlt
      const vcpu = start();
      const event = await run(vcpu);
      expect(event).toEqual({ kind: 'tdcall', length: 4 });
      expect(vcpu.rip).toBe(BigInt(TOP + 5));
      expect(vcpu.gprs[RAX]).toBe(1n);
      skip(vcpu, event);
      vcpu.gprs[RAX] = 40n;
      vcpu.gprs[RDX] = 2n;
      expect(await run(vcpu)).toMatchObject({ name: 'hlt' });
      expect(vcpu.gprs[RAX]).toBe(42n);
    });

    it('long mode: TDCALL with all 64 bits of the registers', async () => {
      mapLongMode(space, { code: [0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8, ...TDCALL, HLT] });
      const vcpu = start();
      const event = await run(vcpu);
      expect(event).toEqual({ kind: 'tdcall', length: 4 });
      expect(vcpu.gprs[RAX]).toBe(0x0807_0605_0403_0201n);
      expect(vcpu.mode).toMatchObject({ longMode: true, cpl: 0, cr3: BigInt(PML4) });
      expect(vcpu.mode.efer & 0x400n).toBe(0x400n);
      skip(vcpu, event);
      expect(await run(vcpu)).toMatchObject({ name: 'hlt' });
    });

    it.each([
      ['in al, dx', [0xec], { port: 0x3f8, size: 1, write: false, immediate: false, length: 1 }],
      ['in eax, 0x50', [0xe5, 0x50], { port: 0x50, size: 4, write: false, immediate: true, length: 2 }],
      ['out dx, ax', [0x66, 0xef], { port: 0x3f8, size: 2, write: true, immediate: false, length: 2 }],
      ['out 0xf4, al', [0xe6, 0xf4], { port: 0xf4, size: 1, write: true, immediate: true, length: 2 }],
    ])('%s is an event that says which port and how', async (_, code, expected) => {
      map32([0xba, 0xf8, 3, 0, 0, ...code, HLT]);
      const vcpu = start();
      const event = await run(vcpu);
      expect(event).toEqual({ kind: 'io', string: false, rep: false, ...expected });
      expect(vcpu.rip).toBe(BigInt(TOP + 5));
      skip(vcpu, event);
      expect(await run(vcpu)).toMatchObject({ name: 'hlt' });
    });

    it('an access to a private page that is not there is told with its address; once mapped, it succeeds', async () => {
      map32([0xa1, ...u32(0x9004), HLT]); // mov eax, [0x9004]
      const vcpu = start();
      expect(await run(vcpu)).toMatchObject({ kind: 'ept-violation', gpa: 0x9004, gla: 0x9004n, access: 'read' });
      expect(vcpu.rip).toBe(BigInt(TOP));
      const page = new Uint8Array(0x1000);
      page.set([0x78, 0x56, 0x34, 0x12], 4);
      space.map(0x9000, page);
      td.pagesMapped(0x9000, 0x1000);
      expect(await run(vcpu)).toMatchObject({ name: 'hlt' });
      expect(vcpu.gprs[RAX]).toBe(0x1234_5678n);
    });

    it('a write to a pending page is told as a write', async () => {
      space.pages.set(0x9000, { state: 'pending' });
      map32([0xa3, ...u32(0x9008), HLT]);
      const vcpu = start();
      expect(await run(vcpu)).toMatchObject({ kind: 'ept-violation', gpa: 0x9008, access: 'write' });
    });

    it('a jump to where nothing is, is told as an execution', async () => {
      map32([0xb8, ...u32(0x1000), 0xff, 0xe0]); // mov eax, 0x1000; jmp eax
      const vcpu = start();
      expect(await run(vcpu)).toMatchObject({ kind: 'ept-violation', gpa: 0x1000, access: 'execute' });
      expect(vcpu.rip).toBe(0x1000n);
    });

    it('a page that was unmapped is gone for the guest', async () => {
      space.map(0x9000);
      map32([0xa1, ...u32(0x9000), 0xe6, 0xf4, 0xa1, ...u32(0x9000), HLT]);
      const vcpu = start();
      const event = await run(vcpu);
      expect(event).toMatchObject({ kind: 'io' });
      skip(vcpu, event);
      space.pages.delete(0x9000);
      td.pagesUnmapped(0x9000, 0x1000);
      expect(await run(vcpu)).toMatchObject({ kind: 'ept-violation', gpa: 0x9000 });
    });

    it('what the guest writes is read by the module, and the other way round', async () => {
      space.map(0x9000);
      map32([0xb8, 1, 2, 3, 4, 0xa3, ...u32(0x9010), 0xe6, 0xf4, 0xa1, ...u32(0x9020), HLT]);
      const vcpu = start();
      const event = await run(vcpu);
      expect([...td.readPrivate(0x9010, 4)]).toEqual([1, 2, 3, 4]);
      td.writePrivate(0x9020, Uint8Array.of(0xdd, 0xcc, 0xbb, 0xaa));
      skip(vcpu, event);
      expect(await run(vcpu)).toMatchObject({ name: 'hlt' });
      expect(vcpu.gprs[RAX]).toBe(0xaabb_ccddn);
    });

    it('code that the module writes is what is executed next', async () => {
      map32([0xe6, 0xf4, 0xeb, 0xfc]); // out; jmp back
      const vcpu = start();
      skip(vcpu, await run(vcpu));
      skip(vcpu, await run(vcpu));
      td.writePrivate(TOP + 2, Uint8Array.of(HLT));
      expect(await run(vcpu)).toMatchObject({ name: 'hlt' });
    });

    it('shared memory is the host’s: read, written, and an event where there is none', async () => {
      const page = space.share(DATA);
      page.set([1, 0, 0, 0], 0);
      const at = (offset: number): number[] => [0x04, 0x25, ...u32(0x4000_0000 + offset)]; // the second GiB is shared
      mapLongMode(space, {
        code: [0x8b, ...at(DATA), 0xff, 0xc0, 0x89, ...at(DATA + 8), 0x8b, ...at(0x10_0000), HLT],
      });
      const vcpu = start();
      expect(await run(vcpu)).toMatchObject({
        kind: 'ept-violation',
        gpa: SHARED + 0x10_0000,
        gla: 0x4010_0000n,
        access: 'read',
      });
      expect([...page.subarray(8, 12)]).toEqual([2, 0, 0, 0]);
    });

    it('an exception without a handler is a triple fault', async () => {
      map32([0x0f, 0x0b]);
      expect(await run(start())).toEqual({ kind: 'triple-fault' });
    });

    it('an exception is delivered through the guest’s IDT, with its error code on the stack', async () => {
      mapLongMode(space, {
        code: [0x0f, 0x0b], // ud2
        handlers: { 6: [0x48, 0x8b, 0x04, 0x24, HLT] }, // mov rax, [rsp]
      });
      const vcpu = start();
      expect(await run(vcpu)).toMatchObject({ name: 'hlt' });
      expect(vcpu.gprs[RAX]).toBe(BigInt(CODE + START_64.length));
      expect(vcpu.gprs[RSP]).toBe(BigInt(STACK + 0x1000 - 40));
    });

    it('a page fault tells its address in CR2 and why in its error code', async () => {
      // The third GiB is not mapped by the page tables.
      mapLongMode(space, {
        code: [0x48, 0xb8, 0x10, 0, 0, 0x80, 0, 0, 0, 0, 0x88, 0x00], // mov rax, 0x80000010; mov [rax], al
        handlers: { 14: [0x0f, 0x20, 0xd3, 0x48, 0x8b, 0x0c, 0x24, HLT] }, // mov rbx, cr2; mov rcx, [rsp]
      });
      const vcpu = start();
      expect(await run(vcpu)).toMatchObject({ name: 'hlt' });
      expect(vcpu.gprs[RBX]).toBe(0x8000_0010n);
      expect(vcpu.gprs[RCX]).toBe(2n);
    });

    it('inject() delivers an exception at RIP, before the next instruction; its handler may return', async () => {
      mapLongMode(space, {
        code: [...TDCALL, 0xff, 0xc3, HLT], // tdcall; inc ebx; hlt
        handlers: { 20: [0xff, 0xc1, 0x48, 0xcf] }, // inc ecx; iretq
      });
      const vcpu = start();
      skip(vcpu, await run(vcpu));
      const at = vcpu.rip;
      vcpu.inject(20);
      expect(await run(vcpu)).toMatchObject({ name: 'hlt' });
      expect([vcpu.gprs[RBX], vcpu.gprs[RCX], vcpu.rip]).toEqual([1n, 1n, at + 2n]);
    });

    it('inject() with an error code pushes it', async () => {
      mapLongMode(space, { code: [...TDCALL, HLT], handlers: { 13: [0x58, HLT] } }); // pop rax
      const vcpu = start();
      await run(vcpu);
      vcpu.inject(13, 0);
      vcpu.gprs[RAX] = 7n;
      expect(await run(vcpu)).toMatchObject({ name: 'hlt' });
      expect(vcpu.gprs[RAX]).toBe(0n);
    });

    it('inject() of a page fault sets CR2', async () => {
      mapLongMode(space, { code: [...TDCALL, HLT], handlers: { 14: [0x0f, 0x20, 0xd3, HLT] } }); // mov rbx, cr2
      const vcpu = start();
      await run(vcpu);
      vcpu.inject(14, 2, 0x1234_5000n);
      expect(await run(vcpu)).toMatchObject({ name: 'hlt' });
      expect(vcpu.gprs[RBX]).toBe(0x1234_5000n);
    });

    describe('external interrupts', () => {
      const IF = 0x200n;
      const VECTOR = 0x30;
      const STI = 0xfb;
      const INC_EBX = [0xff, 0xc3];
      const SPIN = [...INC_EBX, 0xeb, 0xfc]; // inc ebx; jmp back

      it('are not for a guest with RFLAGS.IF clear, which runs on although one waits', async () => {
        mapLongMode(space, { code: [...TDCALL, ...INC_EBX, HLT] });
        const vcpu = start();
        skip(vcpu, await run(vcpu));
        expect(vcpu.interruptible).toBe(false);
        vcpu.interruptWindow = true;
        expect(await run(vcpu)).toMatchObject({ name: 'hlt' });
        expect([vcpu.interruptible, vcpu.gprs[RBX]]).toEqual([false, 1n]);
      });

      it('have their window once the guest takes them; the handler finds them blocked, and may return', async () => {
        mapLongMode(space, {
          code: [...TDCALL, STI, ...SPIN],
          handlers: { [VECTOR]: [0xff, 0xc1, ...TDCALL, 0x48, 0xcf] }, // inc ecx; tdcall; iretq
        });
        const vcpu = start();
        skip(vcpu, await run(vcpu));
        vcpu.interruptWindow = true;
        expect(await run(vcpu)).toEqual({ kind: 'interrupt-window' });
        expect(vcpu.interruptible).toBe(true);
        expect(vcpu.gprs[RBX]).toBeGreaterThanOrEqual(1n);
        vcpu.inject(VECTOR);
        vcpu.interruptWindow = false;
        expect([vcpu.injecting, vcpu.interruptible]).toEqual([true, false]);
        const event = await run(vcpu);
        expect(event).toMatchObject({ kind: 'tdcall' });
        expect([vcpu.gprs[RCX], vcpu.rflags & IF, vcpu.interruptible, vcpu.injecting]).toEqual([1n, 0n, false, false]);
        skip(vcpu, event);
        vcpu.interruptWindow = true;
        expect(await run(vcpu)).toEqual({ kind: 'interrupt-window' });
        expect(vcpu.rflags & IF).toBe(IF);
      });

      it('are held back by STI and by a load of SS for an instruction each', async () => {
        mapLongMode(space, {
          code: [...TDCALL, 0x31, 0xc0, STI, 0x8e, 0xd0, ...INC_EBX, 0xeb, 0xfe], // xor eax, eax; sti; mov ss, eax; ...
        });
        const vcpu = start();
        skip(vcpu, await run(vcpu));
        vcpu.interruptWindow = true;
        expect(await run(vcpu)).toEqual({ kind: 'interrupt-window' });
        expect(vcpu.gprs[RBX]).toBe(1n);
      });

      it('come right away where the guest waits for them at an event', async () => {
        mapLongMode(space, { code: [STI, 0x90, ...TDCALL, 0xeb, 0xfe], handlers: { [VECTOR]: [0xff, 0xc1, HLT] } });
        const vcpu = start();
        skip(vcpu, await run(vcpu));
        expect(vcpu.interruptible).toBe(true);
        vcpu.inject(VECTOR);
        expect(await run(vcpu)).toMatchObject({ name: 'hlt' });
        expect(vcpu.gprs[RCX]).toBe(1n);
      });
    });

    it('an abort ends a guest that loops for ever, which may run on afterwards', async () => {
      map32([0xeb, 0xfe]);
      const vcpu = start();
      for (let n = 0; n < 2; n++) {
        const began = performance.now();
        expect(await vcpu.run(AbortSignal.timeout(30))).toEqual({ kind: 'interrupted' });
        expect(performance.now() - began).toBeLessThan(2000);
      }
      expect(vcpu.rip).toBe(BigInt(TOP));
    });

    it('a signal that is aborted already runs nothing', async () => {
      map32([HLT]);
      const vcpu = start();
      expect(await vcpu.run(AbortSignal.abort())).toEqual({ kind: 'interrupted' });
      expect(vcpu.rip).toBe(0xffff_fff0n);
    });

    it('vCPUs run side by side: one waits in a loop for what another writes', async () => {
      space.map(0x9000);
      map32([
        ...[0x85, 0xf6, 0x75, 0x0b], // test esi, esi; jnz writer
        ...[0x83, 0x3d, ...u32(0x9000), 0x00, 0x74, 0xf7, 0xf4, 0x90], // wait: cmp dword [0x9000], 0; je wait; hlt
        ...[0xff, 0x05, ...u32(0x9000), HLT], // writer: inc dword [0x9000]; hlt
      ]);
      const RSI = 6;
      const first = start({}, 0);
      const second = start({ [RSI]: 1n }, 1);
      const waiting = run(first);
      expect(await run(second)).toMatchObject({ name: 'hlt' });
      expect(await waiting).toMatchObject({ name: 'hlt' });
    });

    it('what it cannot execute ends the run with bytes and a reason, or is executed', async () => {
      map32([0xd9, 0xfe, HLT]); // fsin
      const vcpu = start();
      const event = await run(vcpu);
      if (event.kind !== 'stuck') return expect(event).toMatchObject({ name: 'hlt' });
      expect([...event.bytes.subarray(0, 2)]).toEqual([0xd9, 0xfe]);
      expect(event.rip).toBe(BigInt(TOP));
      expect(event.why).toMatch(/fsin/);
    });
  });
}
