import { describe, expect, it } from 'vitest';
import type { GuestEngine } from '../../src/mock/guest/engine.js';
import { kvmEngine } from '../../src/mock/guest/kvm/engine.js';
import { open, unusable } from './kernel.js';
import { CODE, DATA, gate, HLT, IDT, imm32, longMode, next } from './long-mode.js';
import { TestSpace } from './space.js';

const [RAX, RBX] = [0, 3];
const TDCALL = [0x66, 0x0f, 0x01, 0xcc];
const CPUID = [0x0f, 0xa2];

async function withEngine(patchTdcall: boolean, body: (engine: GuestEngine) => Promise<void>): Promise<void> {
  const engine = await kvmEngine(open, { patchTdcall });
  try {
    await body(engine);
  } finally {
    engine.close();
  }
}

describe.skipIf(unusable !== undefined)('instructions that plain KVM would execute by itself', () => {
  it('the engine says how it sees TDCALL', async () => {
    await withEngine(true, async ({ description }) =>
      expect(description).toContain('replaced in code by a port write'),
    );
    await withEngine(false, async ({ name, description }) => {
      expect(name).toBe('kvm');
      expect(description).toMatch(/^a plain VM of KVM of Linux .*; TDCALL is .*; SHARED bit 47/);
    });
  });

  it.each([
    ['cpuid', CPUID],
    ['wbinvd', [0x0f, 0x09]],
    ['invd', [0x0f, 0x08]],
    ['rdpmc', [0x0f, 0x33]],
    ['xsetbv', [0x0f, 0x01, 0xd1]],
    ['monitor', [0x0f, 0x01, 0xc8]],
    ['mwait', [0x0f, 0x01, 0xc9]],
    ['vmcall', [0x0f, 0x01, 0xc1]],
  ])('%s behind an address where the guest stopped is an event, and reads as it was', async (name, code) => {
    await withEngine(false, async (engine) => {
      // tdcall; call f; hlt; f: (the instruction); ret
      const guest = [...TDCALL, 0xe8, 1, 0, 0, 0, HLT, ...code, 0xc3];
      const { td, vcpu } = longMode(engine, guest);
      await next(vcpu);
      vcpu.rip += 4n;
      expect(await next(vcpu)).toEqual({ kind: 'instruction', name, length: code.length });
      expect(vcpu.rip).toBe(BigInt(CODE + 10));
      expect([...td.readPrivate(CODE, guest.length)]).toEqual(guest);
      expect([...td.readPrivate(CODE + 11, 2)]).toEqual(guest.slice(11, 13));
      vcpu.rip += BigInt(code.length);
      expect(await next(vcpu)).toMatchObject({ name: 'hlt' });
      td.close();
    });
  });

  it('TDCALL, where the host would give the guest a #UD for it', async () => {
    await withEngine(true, async (engine) => {
      const guest = [HLT, ...TDCALL, HLT];
      const { td, vcpu } = longMode(engine, guest);
      await next(vcpu);
      vcpu.rip += 1n;
      vcpu.gprs[RAX] = 0x1234n;
      expect(await next(vcpu)).toEqual({ kind: 'tdcall', length: 4 });
      expect([vcpu.rip, vcpu.gprs[RAX]]).toEqual([BigInt(CODE + 1), 0x1234n]);
      expect([...td.readPrivate(CODE, guest.length)]).toEqual(guest);
      vcpu.rip += 4n;
      expect(await next(vcpu)).toMatchObject({ name: 'hlt' });
      td.close();
    });
  });

  it('the code of exception handlers is known once their table is loaded', async () => {
    await withEngine(false, async (engine) => {
      const handler = CODE + 0x200;
      // lidt [DATA]; tdcall; ud2
      const { td, vcpu } = longMode(engine, [0x0f, 0x01, 0x1c, 0x25, ...imm32(DATA), ...TDCALL, 0x0f, 0x0b]);
      td.writePrivate(IDT, gate(6, handler));
      td.writePrivate(DATA, Uint8Array.of(0xff, 0x0f, ...imm32(IDT), 0, 0, 0, 0));
      td.writePrivate(handler, Uint8Array.of(...CPUID, HLT));
      await next(vcpu);
      vcpu.rip += 4n;
      expect(await next(vcpu)).toEqual({ kind: 'instruction', name: 'cpuid', length: 2 });
      expect(vcpu.rip).toBe(BigInt(handler));
      td.close();
    });
  });

  it('bytes that only look like CPUID stay data', async () => {
    await withEngine(false, async (engine) => {
      // tdcall; mov eax, [CODE + 13]; jmp over; dd 0x0000a20f; over: hlt
      const { td, vcpu } = longMode(engine, [
        ...TDCALL,
        0x8b,
        4,
        0x25,
        ...imm32(CODE + 13),
        0xeb,
        4,
        0x0f,
        0xa2,
        0,
        0,
        HLT,
      ]);
      await next(vcpu);
      vcpu.rip += 4n;
      expect(await next(vcpu)).toMatchObject({ name: 'hlt' });
      expect(vcpu.gprs[RAX]).toBe(0xa20fn);
      td.close();
    });
  });

  it('a CPUID that the guest writes and runs between two stops gives the module’s values', async () => {
    await withEngine(false, async (engine) => {
      // hlt; mov dword [DATA], 0xc3a20f; xor ecx, ecx; mov eax, 0x21; mov edx, DATA; call rdx; hlt
      const { td, vcpu } = longMode(
        engine,
        [
          ...[HLT, 0xc7, 4, 0x25, ...imm32(DATA), 0x0f, 0xa2, 0xc3, 0, 0x31, 0xc9],
          ...[0xb8, ...imm32(0x21), 0xba, ...imm32(DATA), 0xff, 0xd2, HLT],
        ],
        new TestSpace(),
      );
      await next(vcpu);
      vcpu.rip += 1n;
      expect(await next(vcpu)).toMatchObject({ name: 'hlt' });
      expect(vcpu.gprs[RBX]).toBe(0x6574_6e49n); // "Inte"
      td.close();
    });
  });

  it('a patch that the guest overwrites is the guest’s', async () => {
    await withEngine(false, async (engine) => {
      // hlt; mov word [CODE + 9 + 2], 0x9090; nop; cpuid; hlt
      const at = CODE + 1 + 10;
      const { td, vcpu } = longMode(engine, [HLT, 0x66, 0xc7, 4, 0x25, ...imm32(at), 0x90, 0x90, ...CPUID, HLT]);
      await next(vcpu);
      vcpu.rip += 1n;
      expect(await next(vcpu)).toMatchObject({ name: 'hlt' });
      expect([...td.readPrivate(at, 2)]).toEqual([0x90, 0x90]);
      td.close();
    });
  });
});
