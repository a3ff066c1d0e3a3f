import { afterEach, beforeEach, expect, it } from 'vitest';
import { KvmError, type KvmSystem } from '../../src/kvm/index.js';
import { describeOnKernel, kernel } from '../contract/backends.js';
import { exitsUntilHlt, HLT, MEMORY_END, protectedMode, realMode, WRITE_A } from './guest.js';

describeOnKernel('KVM_RUN of a plain VM (the model executes no guests yet), by exit', () => {
  let system: KvmSystem;
  beforeEach(() => {
    system = kernel.open();
  });
  afterEach(() => system.close());

  it('IO: a byte written to a port, then HLT', async () => {
    const { vcpu } = realMode(system, WRITE_A);
    await expect(vcpu.run()).resolves.toEqual({
      reason: 'io',
      direction: 'out',
      size: 1,
      port: 0x3f8,
      count: 1,
      data: Uint8Array.of(0x41),
    });
    await expect(vcpu.run()).resolves.toEqual({ reason: 'hlt' });
  });

  it.each([
    [1, [0xba, 0x10, 0, 0xec, 0xee, HLT]],
    [2, [0xba, 0x10, 0, 0xed, 0xef, HLT]],
    [4, [0xba, 0x10, 0, 0x66, 0xed, 0x66, 0xef, HLT]],
  ])('IO: %i bytes read from a port are those of the reply, which the guest writes back', async (size, code) => {
    const { vcpu } = realMode(system, code);
    const data = Uint8Array.of(0x5a, 0xff, 0, 0x81).slice(0, size);
    expect(await vcpu.run()).toMatchObject({ direction: 'in', size, port: 0x10, count: 1, data: new Uint8Array(0) });
    expect(await vcpu.run({ reply: { data } })).toMatchObject({ direction: 'out', size, data });
    expect(await vcpu.run()).toEqual({ reason: 'hlt' });
  });

  it('IRQ_WINDOW_OPEN: only if asked for, and only once the guest takes interrupts', async () => {
    const spin = [0xeb, 0xfe];
    const { vcpu } = realMode(system, [0xfa, 0xe6, 0x80, 0xfb, 0x90, ...spin]); // cli; out 0x80; sti; nop; jmp $
    expect(await vcpu.run({ interruptWindow: true })).toMatchObject({ reason: 'io', port: 0x80 });
    expect(await vcpu.run({ interruptWindow: true })).toEqual({ reason: 'irq-window-open' });
    expect(vcpu.getRegs().rflags & 0x200n).toBe(0x200n);
    await expect(vcpu.run({ signal: AbortSignal.timeout(30) })).rejects.toMatchObject({ name: 'AbortError' });
  });

  it('IO: a read without a reply gives the guest an empty bus', async () => {
    const { vcpu } = realMode(system, [0xba, 0x10, 0, 0xed, 0xef, HLT]);
    await vcpu.run();
    expect(await vcpu.run()).toMatchObject({ direction: 'out', data: Uint8Array.of(0xff, 0xff) });
  });

  it.each([
    ['insb', 1, 0x6c],
    ['insw', 2, 0x6d],
  ])('IO: rep %s asks for all its accesses at once and stores the reply in memory', async (_, size, opcode) => {
    // mov dx, 0x50; mov cx, 5; mov di, 0x2000; cld; rep ins; hlt
    const { vcpu, memory } = realMode(system, [
      ...[0xba, 0x50, 0, 0xb9, 5, 0, 0xbf, 0, 0x20, 0xfc],
      ...[0xf3, opcode, HLT],
    ]);
    expect(await vcpu.run()).toMatchObject({ direction: 'in', size, port: 0x50, count: 5 });
    const data = Uint8Array.from({ length: size * 5 }, (_, i) => i + 1);
    expect(await vcpu.run({ reply: { data } })).toEqual({ reason: 'hlt' });
    expect(memory.read(0x2000, size * 5 + 1)).toEqual(Uint8Array.of(...data, 0));
  });

  it('IO: rep outsb hands over every byte in order, however many an exit has', async () => {
    const { vcpu, memory } = realMode(system, [
      ...[0xba, 0x50, 0, 0xb9, 5, 0, 0xbe, 0, 0x20, 0xfc],
      ...[0xf3, 0x6e, HLT],
    ]);
    memory.write(0x2000, Buffer.from('hello'));
    const exits = (await exitsUntilHlt(vcpu)).slice(0, -1);
    const bytes = exits.flatMap((exit) => (exit.reason === 'io' ? [...exit.data] : []));
    expect(Buffer.from(bytes).toString()).toBe('hello');
  });

  it.each([
    [1, [0xa0, 0, 0x90, 0, 0, 0xa2, 4, 0x90, 0, 0, HLT]],
    [4, [0xa1, 0, 0x90, 0, 0, 0xa3, 4, 0x90, 0, 0, HLT]],
  ])('MMIO: %i bytes are read with a reply and written', async (size, code) => {
    const { vcpu } = protectedMode(system, code);
    const data = Uint8Array.of(0x77, 0x88, 0x99, 0xaa).slice(0, size);
    const zeros = new Uint8Array(size);
    expect(await vcpu.run()).toEqual({ reason: 'mmio', gpa: 0x9000n, isWrite: false, data: zeros });
    expect(await vcpu.run({ reply: { data } })).toEqual({ reason: 'mmio', gpa: 0x9004n, isWrite: true, data });
    expect(await vcpu.run()).toEqual({ reason: 'hlt' });
  });

  it('MMIO: a write to a read-only slot reaches us, a read of it is the memory', async () => {
    // mov al, [0x9001]; mov [0x9000], al; hlt
    const { vm, vcpu } = protectedMode(system, [0xa0, 1, 0x90, 0, 0, 0xa2, 0, 0x90, 0, 0, HLT]);
    const rom = system.createMemory(4096);
    rom.write(0, Uint8Array.of(1, 2));
    vm.setUserMemoryRegion({ slot: 1, flags: 2, gpa: 0x9000n, size: 4096, memory: rom });
    expect(await vcpu.run()).toEqual({ reason: 'mmio', gpa: 0x9000n, isWrite: true, data: Uint8Array.of(2) });
    expect(rom.read(0, 1)).toEqual(Uint8Array.of(1));
  });

  it('SHUTDOWN: a triple fault', async () => {
    const { vcpu } = protectedMode(system, [0x0f, 0x0b]); // ud2, and no handler
    expect(await vcpu.run()).toEqual({ reason: 'shutdown' });
  });

  it('INTERNAL_ERROR: an instruction that KVM cannot emulate, with what it was', async () => {
    const { vcpu } = protectedMode(system, [0xe9, 0xfb, 0x7f, 0, 0]); // jmp 0x9000, where no memory is
    const exit = await vcpu.run();
    expect(exit).toMatchObject({ reason: 'internal-error', suberror: 1 });
    expect(exit.reason === 'internal-error' && exit.data.every((value) => typeof value === 'bigint')).toBe(true);
  });

  it('a guest that touches a slot without memory finds nothing of ours: EFAULT, or MMIO on shadow page tables', async () => {
    const { vm, vcpu } = protectedMode(system, [0xa0, 0, 0x90, 0, 0, HLT]);
    vm.setUserMemoryRegion({ slot: 1, gpa: 0x9000n, size: 4096, memory: null });
    const answer = await vcpu.run().catch((error) => error);
    if (answer instanceof KvmError) expect(answer).toMatchObject({ code: 'EFAULT', request: 'KVM_RUN' });
    else expect(answer).toEqual({ reason: 'mmio', gpa: 0x9000n, isWrite: false, data: Uint8Array.of(0) });
  });

  it('registers and special registers come back as they were set', () => {
    const { vcpu } = realMode(system, WRITE_A);
    const regs = Object.fromEntries(
      Object.keys(vcpu.getRegs()).map((name, i) => [name, 0x1111_0000_0000n + BigInt(i)]),
    );
    vcpu.setRegs({ ...(regs as unknown as ReturnType<typeof vcpu.getRegs>), rflags: 2n });
    expect(vcpu.getRegs()).toEqual({ ...regs, rflags: 2n });
    const sregs = { ...vcpu.getSregs(), cr2: 0xdead_beef_0000n, gdt: { base: 0x1234n, limit: 0x77 } };
    vcpu.setSregs(sregs);
    expect(vcpu.getSregs()).toEqual(sregs);
  });

  it('the guest sees the CPUID that it was given', async () => {
    // mov eax, 0x40000000; cpuid; mov [0x2000], ebx; hlt
    const { vcpu, memory } = protectedMode(system, [
      ...[0xb8, 0, 0, 0, 0x40, 0x0f, 0xa2],
      ...[0x89, 0x1d, 0, 0x20, 0, 0, HLT],
    ]);
    const entry = { index: 0, flags: 0, eax: 0x4000_0000, ecx: 0, edx: 0 };
    vcpu.setCpuid2([{ ...entry, function: 0x4000_0000, ebx: 0xcafe_f00d }]);
    expect(await vcpu.run()).toEqual({ reason: 'hlt' });
    expect(Buffer.from(memory.read(0x2000, 4)).readUInt32LE()).toBe(0xcafe_f00d);
  });

  it('a reply of the wrong length, or one that nobody asked for, is refused and the right one still taken', async () => {
    const { vcpu } = realMode(system, [0xba, 0x10, 0, 0xed, 0xef, HLT]);
    const data = Uint8Array.of(1, 2);
    await expect(vcpu.run({ reply: { data } })).rejects.toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' });
    await vcpu.run();
    for (const wrong of [0, 1, 3]) {
      const reply = { data: new Uint8Array(wrong) };
      await expect(vcpu.run({ reply })).rejects.toMatchObject({ name: 'RangeError', code: 'ERR_OUT_OF_RANGE' });
    }
    for (const reply of [{ ret: 0n }, { tdVmCallInfo: { r11: 0n, r12: 0n, r13: 0n, r14: 0n } }]) {
      await expect(vcpu.run({ reply })).rejects.toMatchObject({ name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' });
    }
    expect(await vcpu.run({ reply: { data } })).toMatchObject({ direction: 'out', data });
  });

  it('memory that is taken from a running VM, or closed, stays the guest’s until the slot goes', async () => {
    const { vcpu, memory } = realMode(system, [0xba, 0x10, 0, 0xec, HLT]);
    expect(MEMORY_END).toBe(memory.size);
    await vcpu.run();
    memory.close();
    expect(await vcpu.run({ reply: { data: Uint8Array.of(1) } })).toEqual({ reason: 'hlt' });
  });
});
