import { describe, expect, it } from 'vitest';
import type { KvmSystem } from '../../src/kvm/index.js';
import type { Backend } from './backend.js';
import { boot, CODE_AT, DATA_AT, protectedMode, restart, WRITE_A } from './real-mode.js';

export function exitContract(backend: Backend): void {
  const withSystem = (test: (system: KvmSystem) => Promise<void>) => async () => {
    using system = backend.open();
    await test(system);
  };

  describe('exits', () => {
    it(
      'a byte written to a port, then HLT',
      withSystem(async (system) => {
        const { vcpu } = boot(system, WRITE_A);
        expect(await vcpu.run()).toEqual({
          reason: 'io',
          direction: 'out',
          size: 1,
          port: 0x3f8,
          count: 1,
          data: Uint8Array.of(0x41),
        });
        expect(await vcpu.run()).toEqual({ reason: 'hlt' });
        expect(vcpu.getRegs().rip).toBe(BigInt(CODE_AT + WRITE_A.length));
      }),
    );

    it(
      'ports of two and four bytes, little-endian',
      withSystem(async (system) => {
        // mov dx, 0x50; mov ax, 0x1234; out dx, ax; out dx, eax; hlt
        const { vcpu } = boot(system, [0xba, 0x50, 0, 0xb8, 0x34, 0x12, 0xef, 0x66, 0xef, 0xf4]);
        expect(await vcpu.run()).toMatchObject({ size: 2, data: Uint8Array.of(0x34, 0x12) });
        expect(await vcpu.run()).toMatchObject({ size: 4, data: Uint8Array.of(0x34, 0x12, 0, 0) });
      }),
    );

    it(
      'a port read takes the reply; without one the bus is empty, 0xff',
      withSystem(async (system) => {
        // in al, 0x50; mov bl, al; in al, 0x50; hlt
        const { vcpu } = boot(system, [0xe4, 0x50, 0x88, 0xc3, 0xe4, 0x50, 0xf4]);
        const read = { reason: 'io', direction: 'in', size: 1, port: 0x50, count: 1, data: new Uint8Array(0) };
        expect(await vcpu.run()).toEqual(read);
        expect(await vcpu.run({ reply: { data: Uint8Array.of(0x5a) } })).toEqual(read);
        expect(await vcpu.run()).toEqual({ reason: 'hlt' });
        const { rax, rbx } = vcpu.getRegs();
        expect([rbx & 0xffn, rax & 0xffn]).toEqual([0x5an, 0xffn]);
      }),
    );

    it(
      'a string read puts its reply into memory',
      withSystem(async (system) => {
        // mov cx, 5; mov dx, 0x50; cld; rep insb; hlt
        const { vcpu, memory } = boot(system, [0xb9, 5, 0, 0xba, 0x50, 0, 0xfc, 0xf3, 0x6c, 0xf4]);
        const text = new TextEncoder().encode('hello');
        let taken = 0;
        let exit = await vcpu.run();
        while (exit.reason === 'io') {
          const length = exit.size * exit.count;
          exit = await vcpu.run({ reply: { data: text.subarray(taken, taken + length) } });
          taken += length;
        }
        expect(exit).toEqual({ reason: 'hlt' });
        expect(new TextDecoder().decode(memory.read(DATA_AT, 5))).toBe('hello');
      }),
    );

    it(
      'a write and a read of memory that is not there are MMIO',
      withSystem(async (system) => {
        // mov ax, 0xf000; mov ds, ax; mov byte [0], 0x77; mov ax, [0]; hlt
        const { vcpu } = boot(system, [0xb8, 0, 0xf0, 0x8e, 0xd8, 0xc6, 6, 0, 0, 0x77, 0xa1, 0, 0, 0xf4]);
        const gpa = 0xf0000n;
        expect(await vcpu.run()).toEqual({ reason: 'mmio', gpa, isWrite: true, data: Uint8Array.of(0x77) });
        expect(await vcpu.run()).toEqual({ reason: 'mmio', gpa, isWrite: false, data: new Uint8Array(2) });
        expect(await vcpu.run({ reply: { data: Uint8Array.of(1, 2) } })).toEqual({ reason: 'hlt' });
        expect(vcpu.getRegs().rax & 0xffffn).toBe(0x0201n);
      }),
    );

    it(
      'a triple fault is SHUTDOWN',
      withSystem(async (system) => {
        const { vcpu } = boot(system, [0x0f, 0x0b], protectedMode); // ud2
        expect(await vcpu.run()).toEqual({ reason: 'shutdown' });
      }),
    );

    it(
      'instructions that KVM cannot fetch are an INTERNAL_ERROR, emulation failed',
      withSystem(async (system) => {
        const { vcpu } = boot(system, [0xea, 0, 0, 0, 0xf0]); // jmp 0xf000:0
        const exit = await vcpu.run();
        expect(exit).toMatchObject({ reason: 'internal-error', suberror: 1 });
      }),
    );

    it(
      'a reply that the exit does not take is refused, and can be given right',
      withSystem(async (system) => {
        const { vcpu } = boot(system, [0xe4, 0x50, 0xf4]); // in al, 0x50; hlt
        const one = Uint8Array.of(7);
        await expect(vcpu.run({ reply: { data: one } })).rejects.toBeInstanceOf(TypeError);
        await vcpu.run();
        await expect(vcpu.run({ reply: { data: new Uint8Array(2) } })).rejects.toBeInstanceOf(RangeError);
        await expect(vcpu.run({ reply: { ret: 0n } })).rejects.toBeInstanceOf(TypeError);
        await expect(
          vcpu.run({ reply: { tdVmCallInfo: { r11: 0n, r12: 0n, r13: 0n, r14: 0n } } }),
        ).rejects.toBeInstanceOf(TypeError);
        expect(await vcpu.run({ reply: { data: one } })).toEqual({ reason: 'hlt' });
        expect(vcpu.getRegs().rax & 0xffn).toBe(7n);
      }),
    );

    it(
      'two vCPUs run at the same time',
      withSystem(async (system) => {
        const machines = [boot(system, WRITE_A), boot(system, WRITE_A)];
        const exits = await Promise.all(machines.map(({ vcpu }) => vcpu.run()));
        expect(exits.map((exit) => exit.reason)).toEqual(['io', 'io']);
      }),
    );
  });

  describe('ports answered without JavaScript', () => {
    // mov dx, 0x3f8; mov al, [si]; out dx, al; inc si; test al, al; jnz -7; hlt
    const print = [0xba, 0xf8, 0x03, 0x8a, 0x04, 0xee, 0x46, 0x84, 0xc0, 0x75, 0xf8, 0xf4];

    it(
      'gather what is written, in order, until it is taken',
      withSystem(async (system) => {
        const { vcpu, memory } = boot(system, print);
        const text = new TextEncoder().encode('Hello from the guest\n\0');
        memory.write(DATA_AT, text);
        const ports = [{ first: 0x3f8, last: 0x3ff, gather: true }];
        expect(await vcpu.run({ ports })).toEqual({ reason: 'hlt' });
        expect(vcpu.takePortOutput()).toEqual(text);
        expect(vcpu.takePortOutput().length).toBe(0);
      }),
    );

    it(
      'swallow what is written unless they gather, and are asked for in each run',
      withSystem(async (system) => {
        const { vcpu } = boot(system, WRITE_A);
        expect(await vcpu.run({ ports: [{ first: 0, last: 0xffff }] })).toEqual({ reason: 'hlt' });
        expect(vcpu.takePortOutput().length).toBe(0);
        restart(vcpu);
        expect(await vcpu.run()).toMatchObject({ reason: 'io', port: 0x3f8 });
      }),
    );

    it(
      'give their byte to every read, 0xff by default',
      withSystem(async (system) => {
        // in al, 0x50; mov bl, al; in al, 0x51; hlt
        const { vcpu } = boot(system, [0xe4, 0x50, 0x88, 0xc3, 0xe4, 0x51, 0xf4]);
        const ports = [
          { first: 0x50, last: 0x50, readByte: 0x60 },
          { first: 0x51, last: 0x51 },
        ];
        expect(await vcpu.run({ ports })).toEqual({ reason: 'hlt' });
        const { rax, rbx } = vcpu.getRegs();
        expect([rbx & 0xffn, rax & 0xffn]).toEqual([0x60n, 0xffn]);
      }),
    );

    it(
      'leave other ports to the caller',
      withSystem(async (system) => {
        const { vcpu } = boot(system, WRITE_A);
        expect(await vcpu.run({ ports: [{ first: 0x3f9, last: 0x3ff }] })).toMatchObject({ port: 0x3f8 });
      }),
    );

    it.each([
      { first: -1, last: 0 },
      { first: 0, last: 0x10000 },
      { first: 5, last: 4 },
      { first: 0, last: 0, readByte: 256 },
    ])('%o is no range of ports', async (range) => {
      using system = backend.open();
      const { vcpu } = boot(system, WRITE_A);
      await expect(vcpu.run({ ports: [range] })).rejects.toBeInstanceOf(RangeError);
    });
  });
}
