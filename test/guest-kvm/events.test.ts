import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { GuestEngine } from '../../src/mock/guest/engine.js';
import { kvmEngine } from '../../src/mock/guest/kvm/engine.js';
import { open, unusable } from './kernel.js';
import { CODE, DATA, gate, HLT, IDT, imm32, longMode, next, STACK } from './long-mode.js';

const [RAX, RCX, RDX, RSP, RSI, RDI] = [0, 1, 2, 4, 6, 7];

describe.skipIf(unusable !== undefined)('what a guest on a plain VM does, as events', () => {
  let engine: GuestEngine;
  beforeAll(async () => {
    engine = await kvmEngine(open);
  });
  afterAll(() => engine?.close());

  it('starts in the state of a TD: 32-bit code at the reset vector, EFER.LME set, registers as given', async () => {
    const { td, space } = longMode(engine, [HLT]);
    space.addPrivate(0xffff_e000, 0x1000);
    const gprs = BigUint64Array.from({ length: 16 }, (_, i) => BigInt(i) * 0x1_0000_0001n);
    const vcpu = td.createVcpu(1, gprs);
    expect(vcpu.gprs).toEqual(gprs);
    expect([vcpu.rip, vcpu.rflags]).toEqual([0xffff_fff0n, 2n]);
    const { cpl, longMode: is64, cr0, cr4, efer, xcr0 } = vcpu.mode;
    expect({ cpl, is64, cr0, cr4, efer, xcr0 }).toEqual({
      cpl: 0,
      is64: false,
      cr0: 0x31n,
      cr4: 0x40n,
      efer: 0x901n,
      xcr0: 1n,
    });
    td.close();
  });

  it('TDCALL, and the guest goes on from the registers that it is given', async () => {
    // tdcall; mov [DATA], rax; hlt
    const { td, vcpu } = longMode(engine, [0x66, 0x0f, 0x01, 0xcc, 0x48, 0x89, 0x04, 0x25, ...imm32(DATA), HLT]);
    expect(await next(vcpu)).toEqual({ kind: 'tdcall', length: 4 });
    expect([vcpu.rip, vcpu.mode.longMode, vcpu.gprs[RSP]]).toEqual([BigInt(CODE), true, BigInt(STACK)]);
    vcpu.rip += 4n;
    vcpu.gprs[RAX] = 0x1122_3344_5566_7788n;
    expect(await next(vcpu)).toEqual({ kind: 'instruction', name: 'hlt', length: 1 });
    expect(vcpu.rip).toBe(BigInt(CODE + 12));
    expect(td.readPrivate(DATA, 8)).toEqual(Uint8Array.of(0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11));
    td.close();
  });

  it.each([
    ['out imm8, al', [0xe6, 0x55], { port: 0x55, size: 1, write: true, immediate: true }],
    ['in al, imm8', [0xe4, 0x55], { port: 0x55, size: 1, write: false, immediate: true }],
    ['out dx, eax', [0xef], { port: 0x3f8, size: 4, write: true, immediate: false }],
    ['out dx, ax', [0x66, 0xef], { port: 0x3f8, size: 2, write: true, immediate: false }],
    ['in eax, dx', [0xed], { port: 0x3f8, size: 4, write: false, immediate: false }],
    ['outsb', [0x6e], { port: 0x3f8, size: 1, write: true, immediate: false, string: true }],
    ['rep outsb', [0xf3, 0x6e], { port: 0x3f8, size: 1, write: true, immediate: false, string: true, rep: true }],
    ['rep insd', [0xf3, 0x6d], { port: 0x3f8, size: 4, write: false, immediate: false, string: true, rep: true }],
  ])('%s: RIP is at the instruction and no register has changed', async (_, code, io) => {
    const { td, vcpu } = longMode(engine, [HLT, ...code, HLT]);
    await next(vcpu);
    vcpu.rip += 1n;
    vcpu.gprs.set([0xaabb_ccddn, 3n, 0x3f8n], RAX);
    vcpu.gprs.set([BigInt(DATA), BigInt(DATA + 64)], RSI);
    const before = vcpu.gprs.slice();
    expect(await next(vcpu)).toEqual({ kind: 'io', length: code.length, string: false, rep: false, ...io });
    expect(vcpu.rip).toBe(BigInt(CODE + 1));
    expect(vcpu.gprs).toEqual(before);
    expect(td.readPrivate(DATA + 64, 16)).toEqual(new Uint8Array(16));
    vcpu.rip += BigInt(code.length);
    expect(await next(vcpu)).toMatchObject({ name: 'hlt' });
    expect(vcpu.rip).toBe(BigInt(CODE + 1 + code.length));
    td.close();
  });

  it.each([
    ['rdmsr', 0x1b, [0x0f, 0x32]],
    ['wrmsr', 0x1b, [0x0f, 0x30]],
    ['wrmsr', 0xc000_0080, [0x0f, 0x30]],
    ['wrmsr', 0x80b, [0x0f, 0x30]],
  ])('%s of MSR %i, which is not the processor’s state alone', async (name, index, code) => {
    const { td, vcpu } = longMode(engine, [0xb9, ...imm32(index), ...code, HLT]);
    expect(await next(vcpu)).toEqual({ kind: 'instruction', name, length: 2 });
    expect([vcpu.rip, vcpu.gprs[RAX]]).toEqual([BigInt(CODE + 5), BigInt(CODE)]);
    vcpu.gprs[RAX] = 7n;
    vcpu.rip += 2n;
    expect(await next(vcpu)).toMatchObject({ name: 'hlt' });
    expect(vcpu.gprs[RAX]).toBe(7n);
    td.close();
  });

  it('an MSR that is the processor’s state alone is written and read without an event', async () => {
    // mov ecx, 0xc0000102 (kernel GS base); mov eax, 0x1234; xor edx, edx; wrmsr; xor eax, eax; rdmsr; hlt
    const { td, vcpu } = longMode(engine, [
      ...[0xb9, ...imm32(0xc000_0102), 0xb8, ...imm32(0x1234), 0x31, 0xd2, 0x0f, 0x30],
      ...[0x31, 0xc0, 0x0f, 0x32, HLT],
    ]);
    expect(await next(vcpu)).toMatchObject({ name: 'hlt' });
    expect([vcpu.gprs[RAX], vcpu.gprs[RDX]]).toEqual([0x1234n, 0n]);
    td.close();
  });

  it('an instruction that KVM’s emulator does not know is stepped: FWAIT, FNINIT, FLDCW', async () => {
    // fwait; fninit; fldcw [DATA]; fnstcw [DATA + 8]; hlt
    const { td, vcpu } = longMode(engine, [
      ...[0x9b, 0xdb, 0xe3, 0xd9, 0x2c, 0x25, ...imm32(DATA)],
      ...[0xd9, 0x3c, 0x25, ...imm32(DATA + 8), HLT],
    ]);
    td.writePrivate(DATA, Uint8Array.of(0x7f, 0x02));
    expect(await next(vcpu)).toMatchObject({ name: 'hlt' });
    expect(td.readPrivate(DATA + 8, 2)).toEqual(Uint8Array.of(0x7f, 0x02));
    td.close();
  });

  it('an injected exception goes through the guest’s IDT and returns to where it was', async () => {
    const handler = CODE + 0x100;
    // lidt [DATA]; tdcall; hlt
    const { td, vcpu } = longMode(engine, [0x0f, 0x01, 0x1c, 0x25, ...imm32(DATA), 0x66, 0x0f, 0x01, 0xcc, HLT]);
    td.writePrivate(IDT, gate(20, handler));
    td.writePrivate(DATA, Uint8Array.of(0xff, 0x0f, ...imm32(IDT), 0, 0, 0, 0));
    td.writePrivate(handler, Uint8Array.of(0xff, 0x04, 0x25, ...imm32(DATA + 64), 0x48, 0xcf)); // inc [..]; iretq
    expect(await next(vcpu)).toMatchObject({ kind: 'tdcall' });
    vcpu.inject(20);
    expect(await next(vcpu)).toMatchObject({ kind: 'tdcall' });
    expect(vcpu.rip).toBe(BigInt(CODE + 8));
    expect(vcpu.gprs[RSP]).toBe(BigInt(STACK));
    expect(td.readPrivate(DATA + 64, 1)).toEqual(Uint8Array.of(1));
    td.close();
  });

  it('an exception without a handler is a triple fault, the guest’s own and an injected one', async () => {
    const own = longMode(engine, [0x0f, 0x0b]);
    expect(await next(own.vcpu)).toEqual({ kind: 'triple-fault' });
    own.td.close();
    const { td, vcpu } = longMode(engine, [HLT]);
    await next(vcpu);
    vcpu.inject(13, 0);
    expect(await next(vcpu)).toEqual({ kind: 'triple-fault' });
    td.close();
  });

  it('what neither KVM nor the software knows is told with bytes and disassembly', async () => {
    const { td, vcpu } = longMode(engine, [0x0f, 0x01, 0xcf, HLT]); // encls
    const event = await next(vcpu);
    if (event.kind === 'stuck') {
      expect(event.rip).toBe(BigInt(CODE));
      expect([...event.bytes.subarray(0, 3)]).toEqual([0x0f, 0x01, 0xcf]);
      expect(event.why).toContain('encls');
    } else expect(event).toEqual({ kind: 'triple-fault' }); // a processor without SGX: #UD
    td.close();
  });

  it('several vCPUs of a TD run at the same time, each with its own registers', async () => {
    // lock inc dword [DATA]; wait until it is 4; hlt
    const { td, vcpu } = longMode(engine, [
      ...[0xf0, 0xff, 0x04, 0x25, ...imm32(DATA)],
      ...[0x83, 0x3c, 0x25, ...imm32(DATA), 4, 0xf3, 0x90, 0x72, 0xf4, HLT],
    ]);
    const others = [1, 2, 3].map((i) =>
      td.createVcpu(
        i,
        BigUint64Array.from({ length: 16 }, () => BigInt(i)),
      ),
    );
    const all = [vcpu, ...others];
    const events = await Promise.all(all.map(next));
    expect(events.map((event) => event.kind === 'instruction' && event.name)).toEqual(['hlt', 'hlt', 'hlt', 'hlt']);
    expect(all.map(({ gprs }) => gprs[RDI])).toEqual([0n, 1n, 2n, 3n]);
    expect(others.map(({ gprs }) => gprs[RCX])).toEqual([1n, 2n, 3n]);
    td.close();
  });
});
