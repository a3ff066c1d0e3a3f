import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { GuestEngine } from '../../src/mock/guest/engine.js';
import { kvmEngine } from '../../src/mock/guest/kvm/engine.js';
import { canDeprivilege, open, unusable } from './kernel.js';
import { CODE, DATA, type Guest, gate, HLT, IDT, imm32, longMode, next, STACK, UNMAPPED } from './long-mode.js';

const [RAX, RBX, RCX, RDI] = [0, 3, 1, 7];
/** Tables of `longMode`: the entry for UNMAPPED in its page directory. */
const DIRECTORY_ENTRY = 0x1_2010;
/** A table of 4 KiB pages for UNMAPPED, and two of its pages, filled with 1 and with 2. */
const PAGE_TABLE = 0x9000;
const FIRST = 0xa000;
const SECOND = 0xb000;
const HANDLER = CODE + 0x400;

const at = (address: number, reg = 0): number[] => [0x04 | (reg << 3), 0x25, ...imm32(address)];
const entry = (value: number): Uint8Array => Uint8Array.of(...imm32(value), 0, 0, 0, 0);
/** mov dword [PAGE_TABLE], value */
const setEntry = (value: number): number[] => [0xc7, ...at(PAGE_TABLE), ...imm32(value)];
const INVLPG = [0x0f, 0x01, ...at(UNMAPPED, 7)];
const LOAD_CR3 = [0x0f, 0x20, 0xd9, 0x0f, 0x22, 0xd9]; // mov rcx, cr3; mov cr3, rcx
const TOGGLE_WP = [0x0f, 0x20, 0xc1, 0x0f, 0xba, 0xf9, 16, 0x0f, 0x22, 0xc1]; // mov rcx, cr0; btc ecx, 16; mov cr0, rcx

/** A guest whose UNMAPPED is FIRST, as `entry` says. */
function paged(engine: GuestEngine, code: readonly number[], first: number): Guest {
  const guest = longMode(engine, code);
  const { space, td } = guest;
  space.addPrivate(PAGE_TABLE, 0x1000);
  space.addPrivate(FIRST, 0x1000, new Uint8Array(0x1000).fill(1));
  space.addPrivate(SECOND, 0x1000, new Uint8Array(0x1000).fill(2));
  td.pagesMapped(PAGE_TABLE, 0x3000);
  td.writePrivate(PAGE_TABLE, entry(first));
  td.writePrivate(DIRECTORY_ENTRY, entry(PAGE_TABLE | 3));
  return guest;
}

const firstEntry = ({ td }: Guest): number => Buffer.from(td.readPrivate(PAGE_TABLE, 4)).readUInt32LE();

describe.skipIf(unusable !== undefined)('code of CPL 0 as the guest sees it', () => {
  describe.each([
    ['emulated', false],
    ['at CPL 3', true],
  ])('%s', (_, deprivilege) => {
    if (deprivilege && !canDeprivilege) return it.skip('this host’s KVM needs no deprivileging', () => {});
    let engine: GuestEngine;
    beforeAll(async () => {
      engine = await kvmEngine(open, { deprivilege });
    });
    afterAll(() => engine?.close());

    it('sets Accessed with the first read and Dirty with the first write', async () => {
      // hlt; mov al, [UNMAPPED]; hlt; mov [UNMAPPED], al; hlt
      const guest = paged(engine, [HLT, 0x8a, ...at(UNMAPPED), HLT, 0x88, ...at(UNMAPPED), HLT], FIRST | 3);
      const { td, vcpu } = guest;
      for (const expected of [FIRST | 3, FIRST | 0x23, FIRST | 0x63]) {
        expect(await next(vcpu)).toMatchObject({ name: 'hlt' });
        expect(firstEntry(guest)).toBe(expected);
        vcpu.rip += 1n;
      }
      td.close();
    });

    it.each([
      ['INVLPG', INVLPG],
      ['a load of CR3', LOAD_CR3],
      ['a change of CR0.WP', TOGGLE_WP],
    ])('uses a changed translation after %s', async (_name, flush) => {
      // hlt; mov al, [UNMAPPED]; (change); (flush); mov bl, [UNMAPPED]; hlt
      const { td, vcpu } = paged(
        engine,
        [HLT, 0x8a, ...at(UNMAPPED), ...setEntry(SECOND | 3), ...flush, 0x8a, ...at(UNMAPPED, RBX), HLT],
        FIRST | 3,
      );
      await next(vcpu);
      vcpu.rip += 1n;
      vcpu.gprs[RBX] = 0n;
      expect(await next(vcpu)).toMatchObject({ name: 'hlt' });
      expect([vcpu.gprs[RAX]! & 0xffn, vcpu.gprs[RBX]]).toEqual([1n, 2n]);
      td.close();
    });

    it('sets Dirty anew where the guest has cleared and flushed it', async () => {
      const write = [0x88, ...at(UNMAPPED)];
      const guest = paged(engine, [...write, ...setEntry(FIRST | 0x23), ...INVLPG, ...write, HLT], FIRST | 3);
      expect(await next(guest.vcpu)).toMatchObject({ name: 'hlt' });
      expect(firstEntry(guest)).toBe(FIRST | 0x63);
      guest.td.close();
    });

    it('has a write to a read-only page refused, with CR0.WP, by a page fault of the guest’s own', async () => {
      // lidt [DATA]; set CR0.WP; mov al, [UNMAPPED]; mov [UNMAPPED], al; hlt
      const faulting = [0x88, ...at(UNMAPPED + 5)];
      const { td, vcpu } = paged(
        engine,
        [0x0f, 0x01, ...at(DATA, 3), ...TOGGLE_WP, 0x8a, ...at(UNMAPPED), ...faulting, HLT],
        FIRST | 1,
      );
      td.writePrivate(IDT, gate(14, HANDLER));
      td.writePrivate(DATA, Uint8Array.of(0xff, 0x0f, ...imm32(IDT), 0, 0, 0, 0));
      td.writePrivate(HANDLER, Uint8Array.of(0x0f, 0x20, 0xd3, 0x58, HLT)); // mov rbx, cr2; pop rax; hlt
      expect(await next(vcpu)).toMatchObject({ name: 'hlt' });
      expect([vcpu.gprs[RAX], vcpu.gprs[RBX]]).toEqual([3n, BigInt(UNMAPPED + 5)]);
      expect(vcpu.gprs[4]).toBe(BigInt(STACK - 40));
      td.close();
    });

    it('a divide error, a breakpoint and a single step reach the guest’s handlers', async () => {
      // lidt; xor ecx, ecx; div ecx / int3 / push 0x102; popfq; nop; nop
      const cases: [number, number[], number][] = [
        [0, [0x31, 0xc9, 0xf7, 0xf1], 2],
        [3, [0xcc], 1],
        [1, [0x68, ...imm32(0x102), 0x9d, 0x90, 0x90], 7],
      ];
      for (const [vector, code, offset] of cases) {
        const { td, vcpu } = longMode(engine, [0x0f, 0x01, ...at(DATA, 3), ...code, HLT]);
        td.writePrivate(IDT, gate(vector, HANDLER));
        td.writePrivate(DATA, Uint8Array.of(0xff, 0x0f, ...imm32(IDT), 0, 0, 0, 0));
        td.writePrivate(HANDLER, Uint8Array.of(0x58, HLT)); // pop rax; hlt
        expect(await next(vcpu)).toMatchObject({ name: 'hlt' });
        expect([vector, vcpu.gprs[RAX]]).toEqual([vector, BigInt(CODE + 8 + offset)]);
        td.close();
      }
    });

    it('reads IF and its selectors as they are, also by code that it has copied', async () => {
      const revealing = [0x9c, 0x58, 0x8c, 0xcb, 0xc3]; // pushfq; pop rax; mov ebx, cs; ret
      const [f, copy] = [CODE + 0x200, DATA + 0x100];
      // sti; call f; mov r8, rax; cli; mov esi, f; mov edi, copy; mov ecx, 5; rep movsb; mov edx, copy; call rdx; hlt
      const { td, vcpu } = longMode(engine, [
        ...[0xfb, 0xe8, ...imm32(0x200 - 6), 0x49, 0x89, 0xc0, 0xfa],
        ...[0xbe, ...imm32(f), 0xbf, ...imm32(copy), 0xb9, ...imm32(5), 0xf3, 0xa4],
        ...[0xba, ...imm32(copy), 0xff, 0xd2, HLT],
      ]);
      td.writePrivate(f, Uint8Array.from(revealing));
      expect(await next(vcpu)).toMatchObject({ name: 'hlt' });
      expect([vcpu.gprs[8]! & 0x200n, vcpu.gprs[RAX]! & 0x200n, vcpu.gprs[RBX]]).toEqual([0x200n, 0n, 8n]);
      expect([...td.readPrivate(f, 5)]).toEqual(revealing);
      td.close();
    });

    it('executes what it has written over code that ran', async () => {
      const f = CODE + 0x1000;
      // call f; mov dword [f], mov ebx, cs; ret; call f; hlt
      const { td, vcpu } = longMode(engine, [
        ...[0xe8, ...imm32(0x1000 - 5), 0xc7, ...at(f), 0x8c, 0xcb, 0xc3, 0x90],
        ...[0xe8, ...imm32(0x1000 - 21), HLT],
      ]);
      td.writePrivate(f, Uint8Array.of(0x31, 0xdb, 0xc3)); // xor ebx, ebx; ret
      expect(await next(vcpu)).toMatchObject({ name: 'hlt' });
      expect(vcpu.gprs[RBX]).toBe(8n);
      td.close();
    });

    it('computes, and is interrupted while it does', async () => {
      // hlt; mov ecx, 50000; again: add rax, rcx; dec ecx; jnz again; hlt; jmp $
      const { td, vcpu } = longMode(engine, [
        ...[HLT, 0x31, 0xc0, 0xb9, ...imm32(50_000), 0x48, 0x01, 0xc8, 0xff, 0xc9, 0x75, 0xf9, HLT, 0xeb, 0xfe],
      ]);
      await next(vcpu);
      vcpu.rip += 1n;
      expect(await next(vcpu)).toMatchObject({ name: 'hlt' });
      expect([vcpu.gprs[RAX], vcpu.gprs[RCX]]).toEqual([1_250_025_000n, 0n]);
      vcpu.rip += 1n;
      const at = vcpu.rip;
      for (let n = 0; n < 2; n++) {
        expect(await vcpu.run(AbortSignal.timeout(20))).toEqual({ kind: 'interrupted' });
        expect([vcpu.rip, vcpu.mode.cpl]).toEqual([at, 0]);
      }
      td.close();
    });

    it('leaves 64-bit mode and comes back', async () => {
      // push 0x18; push compatible; retfq -> (32-bit) inc edi; jmp far 8:back -> inc edi; hlt
      const compatible = CODE + 0x300;
      const back = CODE + 0x380;
      const { td, vcpu } = longMode(engine, [
        ...[0x0f, 0x01, ...at(DATA, 2), 0x31, 0xff], // lgdt [DATA]; xor edi, edi
        ...[0x6a, 0x18, 0x68, ...imm32(compatible), 0x48, 0xcb],
      ]);
      td.writePrivate(DATA, Uint8Array.of(0x1f, 0, ...imm32(DATA + 0x100), 0, 0, 0, 0));
      const descriptors = BigUint64Array.of(0n, 0x00af_9b00_0000_ffffn, 0x00cf_9300_0000_ffffn, 0x00cf_9b00_0000_ffffn);
      td.writePrivate(DATA + 0x100, new Uint8Array(descriptors.buffer));
      td.writePrivate(compatible, Uint8Array.of(0xff, 0xc7, 0xea, ...imm32(back), 8, 0));
      td.writePrivate(back, Uint8Array.of(0xff, 0xc7, HLT));
      expect(await next(vcpu)).toMatchObject({ name: 'hlt' });
      expect([vcpu.gprs[RDI], vcpu.rip, vcpu.mode.longMode]).toEqual([2n, BigInt(back + 2), true]);
      td.close();
    });
  });

  it.skipIf(!canDeprivilege)(
    'the engine says that it runs CPL 0 at CPL 3, where that is found to be faithful',
    async () => {
      const engine = await kvmEngine(open);
      expect(engine.description).toMatch(/emulates privileged code, about .*, so 64-bit code of CPL 0 runs at CPL 3/);
      engine.close();
    },
  );
});
