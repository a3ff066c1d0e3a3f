import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { GuestEngine } from '../../src/mock/guest/engine.js';
import { kvmEngine } from '../../src/mock/guest/kvm/engine.js';
import { open, unusable } from './kernel.js';
import { CODE, DATA, HLT, imm32, longMode, next, SHARED, STACK, UNMAPPED } from './long-mode.js';
import { TestSpace } from './space.js';

const [RAX, RCX, RBX, RSP, RSI, RDI] = [0, 1, 3, 4, 6, 7];
const MMIO_HOLE = UNMAPPED + 0x123;

describe.skipIf(unusable !== undefined)('a TD’s memory on a plain VM', () => {
  let engine: GuestEngine;
  beforeAll(async () => {
    engine = await kvmEngine(open);
  });
  afterAll(() => engine?.close());

  it.each([2 ** 47, 2 ** 51])(
    'shared memory (SHARED bit %i) is read and written where the host has it',
    async (bit) => {
      // mov rax, [SHARED + 8]; mov [SHARED + 0xffc], eax; hlt
      const { space, td, vcpu } = longMode(
        engine,
        [0x48, 0x8b, 4, 0x25, ...imm32(SHARED + 8), 0x89, 4, 0x25, ...imm32(SHARED + 0xffc), HLT],
        new TestSpace(bit),
      );
      const page = space.addShared(0);
      page.set([1, 2, 3, 4, 5, 6, 7, 8], 8);
      expect(await next(vcpu)).toMatchObject({ name: 'hlt' });
      expect(vcpu.gprs[RAX]).toBe(0x0807_0605_0403_0201n);
      expect([...page.subarray(0xffc)]).toEqual([1, 2, 3, 4]);
      td.close();
    },
  );

  const accesses: [string, number[], 'read' | 'write'][] = [
    ['mov eax, [rbx]', [0x8b, 0x03], 'read'],
    ['movzx eax, byte [rbx]', [0x0f, 0xb6, 0x03], 'read'],
    ['add [rbx], eax', [0x01, 0x03], 'read'],
    ['push qword [rbx]', [0xff, 0x33], 'read'],
    ['lodsd', [0xad], 'read'],
    ['mov [rbx], eax', [0x89, 0x03], 'write'],
    ['mov [rbx], rax', [0x48, 0x89, 0x03], 'write'],
    ['mov byte [rbx + rcx*2 - 6], 7', [0xc6, 0x44, 0x4b, 0xfa, 7], 'write'],
    ['mov [rbx], r9w', [0x66, 0x44, 0x89, 0x0b], 'write'],
    ['mov [rbx], r9d', [0x44, 0x89, 0x0b], 'write'],
    ['mov [rbx], ch', [0x88, 0x2b], 'write'],
    ['stosb', [0xaa], 'write'],
    ['rep stosd', [0xf3, 0xab], 'write'],
    ['std; movsq', [0x48, 0xa5], 'read'],
  ];
  it.each(accesses)(
    '%s of private memory that is not mapped: nothing has happened yet, and it works once it is',
    async (_, code, access) => {
      const { space, td, vcpu } = longMode(engine, [HLT, ...code, HLT]);
      await next(vcpu);
      vcpu.rip += 1n;
      vcpu.gprs.set([0x11n, 3n], RAX);
      vcpu.gprs[RBX] = BigInt(MMIO_HOLE);
      vcpu.gprs.set([BigInt(MMIO_HOLE), BigInt(access === 'read' ? DATA : MMIO_HOLE)], RSI);
      vcpu.gprs[9] = 0x4433_2211n;
      const before = vcpu.gprs.slice();
      const memory = td.readPrivate(STACK - 16, 16);
      expect(await next(vcpu)).toEqual({
        kind: 'ept-violation',
        gpa: MMIO_HOLE,
        gla: BigInt(MMIO_HOLE),
        access,
        length: code.length,
      });
      expect(vcpu.rip).toBe(BigInt(CODE + 1));
      expect(vcpu.gprs).toEqual(before);
      expect(td.readPrivate(STACK - 16, 16)).toEqual(memory);
      expect(td.readPrivate(DATA, 16)).toEqual(new Uint8Array(16));

      space.addPrivate(UNMAPPED, 0x1000, new Uint8Array(4096).fill(0x5a));
      td.pagesMapped(UNMAPPED, 0x1000);
      expect(await next(vcpu)).toMatchObject({ name: 'hlt' });
      expect(vcpu.rip).toBe(BigInt(CODE + 1 + code.length));
      td.close();
    },
  );

  it('a call whose return address has no memory: RIP is at the call', async () => {
    // call +0x20
    const { td, vcpu } = longMode(engine, [HLT, 0xe8, 0x20, 0, 0, 0, HLT]);
    await next(vcpu);
    vcpu.rip += 1n;
    vcpu.gprs[RSP] = BigInt(UNMAPPED + 0x100);
    const event = await next(vcpu);
    expect(event).toMatchObject({ kind: 'ept-violation', gpa: UNMAPPED + 0xf8, access: 'write', length: 5 });
    expect([vcpu.rip, vcpu.gprs[RSP]]).toEqual([BigInt(CODE + 1), BigInt(UNMAPPED + 0x100)]);
    td.close();
  });

  it('a jump to where no memory is, and to shared memory, cannot be executed', async () => {
    for (const target of [UNMAPPED, SHARED]) {
      const { space, td, vcpu } = longMode(engine, [0xb8, ...imm32(target), 0xff, 0xe0]);
      space.addShared(0);
      const gpa = target === SHARED ? 2 ** 47 : target;
      const gla = BigInt(target);
      expect(await next(vcpu)).toEqual({ kind: 'ept-violation', gpa, gla, access: 'execute', length: 0 });
      expect(vcpu.rip).toBe(gla);
      td.close();
    }
  });

  it('a page of zeros is the guest’s from its first touch on, by data and by code', async () => {
    // mov byte [UNMAPPED + 0x2000], 0xf4; mov eax, UNMAPPED + 0x2000; jmp rax
    const { space, td, vcpu } = longMode(engine, [
      ...[0xc6, 4, 0x25, ...imm32(UNMAPPED + 0x2000), HLT, 0xf4],
      ...[0xb8, ...imm32(UNMAPPED + 0x2000), 0xff, 0xe0],
    ]);
    expect(await next(vcpu)).toMatchObject({ kind: 'ept-violation', length: 8 });
    space.addPrivate(UNMAPPED, 0x1_0000);
    td.pagesMapped(UNMAPPED, 0x1_0000);
    expect(await next(vcpu)).toMatchObject({ name: 'hlt' });
    expect(td.readPrivate(UNMAPPED + 0x2000, 2)).toEqual(Uint8Array.of(HLT, 0));
    vcpu.rip = BigInt(CODE + 9);
    expect(await next(vcpu)).toMatchObject({ name: 'hlt' });
    expect(vcpu.rip).toBe(BigInt(UNMAPPED + 0x2000));
    td.close();
  });

  it('a page that is unmapped is gone with its content, its neighbours stay', async () => {
    // mov eax, [rbx]; mov eax, [rbx + 0x1000]; hlt
    const { space, td, vcpu } = longMode(engine, [HLT, 0x8b, 0x03, 0x8b, 0x83, ...imm32(0x1000), HLT]);
    await next(vcpu);
    vcpu.rip += 1n;
    space.addPrivate(UNMAPPED, 0x3000, new Uint8Array(0x3000).fill(7));
    td.pagesMapped(UNMAPPED, 0x3000);
    vcpu.gprs[RBX] = BigInt(UNMAPPED);
    expect(await next(vcpu)).toMatchObject({ name: 'hlt' });
    expect(vcpu.gprs[RAX]).toBe(0x0707_0707n);

    td.pagesUnmapped(UNMAPPED + 0x1000, 0x1000);
    space.removePrivate(UNMAPPED + 0x1000, 0x1000);
    vcpu.rip = BigInt(CODE + 1);
    expect(await next(vcpu)).toMatchObject({ kind: 'ept-violation', gpa: UNMAPPED + 0x1000, access: 'read' });
    expect(vcpu.rip).toBe(BigInt(CODE + 3));
    expect(td.readPrivate(UNMAPPED + 0x2000, 2)).toEqual(Uint8Array.of(7, 7));

    space.addPrivate(UNMAPPED + 0x1000, 0x1000);
    td.pagesMapped(UNMAPPED + 0x1000, 0x1000);
    expect(await next(vcpu)).toMatchObject({ name: 'hlt' });
    expect(vcpu.gprs[RAX]).toBe(0n);
    td.close();
  });

  it('a page that is mapped once more has its new content, zeros as well', async () => {
    // mov eax, [rbx]; hlt
    const { space, td, vcpu } = longMode(engine, [HLT, 0x8b, 0x03, HLT]);
    await next(vcpu);
    vcpu.gprs[RBX] = BigInt(UNMAPPED);
    for (const byte of [7, 0]) {
      space.addPrivate(UNMAPPED, 0x1000, new Uint8Array(0x1000).fill(byte));
      td.pagesMapped(UNMAPPED, 0x1000);
      vcpu.rip = BigInt(CODE + 1);
      expect(await next(vcpu)).toMatchObject({ name: 'hlt' });
      expect(vcpu.gprs[RAX]).toBe(BigInt(byte) * 0x0101_0101n);
    }
    td.close();
  });

  it('a locked instruction whose page is touched for the first time is atomic between vCPUs', async () => {
    // mov ecx, 2000; again: lock inc dword [UNMAPPED]; loop again; hlt
    const code = [0xb9, ...imm32(2000), 0xf0, 0xff, 4, 0x25, ...imm32(UNMAPPED), 0xe2, 0xf6, HLT];
    const { space, td, vcpu } = longMode(engine, code);
    space.addPrivate(UNMAPPED, 0x1000);
    td.pagesMapped(UNMAPPED, 0x1000);
    const all = [vcpu, td.createVcpu(1, new BigUint64Array(16)), td.createVcpu(2, new BigUint64Array(16))];
    for (const event of await Promise.all(all.map(next))) expect(event).toMatchObject({ name: 'hlt' });
    expect(all.map(({ gprs }) => gprs[RCX])).toEqual([0n, 0n, 0n]);
    expect(Buffer.from(td.readPrivate(UNMAPPED, 4)).readUInt32LE()).toBe(6000);
    td.close();
  });

  it('a TD whose SHARED bit no page table can hold here is refused with the reason', () => {
    expect(() => engine.openTd(new TestSpace(2 ** 45))).toThrow(/cannot hold bit 45, the SHARED bit of this TD/);
  });

  it('RDI is untouched by a violation in the middle of a repeated store', async () => {
    // mov ecx, 0x1000; mov edi, UNMAPPED + 0x800; rep stosb; hlt
    const { space, td, vcpu } = longMode(engine, [
      ...[0xb9, ...imm32(0x1000), 0xbf, ...imm32(UNMAPPED + 0x800), 0xb0, 9, 0xf3, 0xaa, HLT],
    ]);
    space.addPrivate(UNMAPPED, 0x1000);
    td.pagesMapped(UNMAPPED, 0x1000);
    expect(await next(vcpu)).toMatchObject({ kind: 'ept-violation', gpa: UNMAPPED + 0x1000, access: 'write' });
    expect([vcpu.gprs[RDI], vcpu.gprs[RCX]]).toEqual([BigInt(UNMAPPED + 0x1000), 0x800n]);
    space.addPrivate(UNMAPPED + 0x1000, 0x1000);
    td.pagesMapped(UNMAPPED + 0x1000, 0x1000);
    expect(await next(vcpu)).toMatchObject({ name: 'hlt' });
    expect(td.readPrivate(UNMAPPED + 0x1000, 4)).toEqual(Uint8Array.of(9, 9, 9, 9));
    td.close();
  });
});
