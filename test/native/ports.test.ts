import { afterEach, beforeEach, expect, it } from 'vitest';
import type { IoExit, KvmSystem } from '../../src/kvm/index.js';
import { describeOnKernel, kernel } from '../contract/backends.js';
import { HLT, protectedMode, realMode, WRITE_A } from './guest.js';

/** mov dx, 0x3f8; mov ecx, n; loop: mov eax, ecx; out dx, eax; dec ecx; jnz loop; hlt */
const countDown = (n: number): number[] => {
  const count = Buffer.alloc(4);
  count.writeUInt32LE(n);
  return [0xba, 0xf8, 3, 0, 0, 0xb9, ...count, 0x89, 0xc8, 0xef, 0x49, 0x75, 0xfa, HLT];
};
const countedDown = (n: number): Uint8Array => new Uint8Array(Uint32Array.from({ length: n }, (_, i) => n - i).buffer);

const CONSOLE = { first: 0x3f8, last: 0x3ff, gather: true };

describeOnKernel('port accesses that the vCPU’s thread answers', () => {
  let system: KvmSystem;
  beforeEach(() => {
    system = kernel.open();
  });
  afterEach(() => system.close());

  it('never cross: the run goes on to the first exit that is not answered', async () => {
    const { vcpu } = realMode(system, WRITE_A);
    expect(await vcpu.run({ ports: [CONSOLE] })).toEqual({ reason: 'hlt' });
    expect(Buffer.from(vcpu.takePortOutput()).toString()).toBe('A');
    expect(vcpu.takePortOutput()).toEqual(new Uint8Array(0));
  });

  it('gather nothing where that was not asked for', async () => {
    const { vcpu } = realMode(system, WRITE_A);
    expect(await vcpu.run({ ports: [{ first: 0, last: 0xffff }] })).toEqual({ reason: 'hlt' });
    expect(vcpu.takePortOutput()).toEqual(new Uint8Array(0));
  });

  it('cross where the port is outside every range', async () => {
    const { vcpu } = realMode(system, WRITE_A);
    const ports = [
      { first: 0, last: 0x3f7 },
      { first: 0x3f9, last: 0xffff },
    ];
    expect(await vcpu.run({ ports })).toMatchObject({ reason: 'io', port: 0x3f8 });
  });

  it('take the first range that has the port', async () => {
    const { vcpu } = realMode(system, WRITE_A);
    await vcpu.run({ ports: [{ first: 0x3f8, last: 0x3f8 }, CONSOLE] });
    expect(vcpu.takePortOutput()).toEqual(new Uint8Array(0));
  });

  it('give a reader `readByte` in every byte, an empty bus by default', async () => {
    for (const [readByte, seen] of [
      [0x60, 0x60],
      [undefined, 0xff],
    ] as const) {
      // mov dx, 0x3fd; in eax, dx; mov dx, 0x10; out dx, eax; hlt
      const { vcpu } = realMode(system, [0xba, 0xfd, 3, 0x66, 0xed, 0xba, 0x10, 0, 0x66, 0xef, HLT]);
      const ports = [{ ...CONSOLE, ...(readByte !== undefined && { readByte }) }];
      expect(await vcpu.run({ ports })).toMatchObject({ port: 0x10, data: new Uint8Array(4).fill(seen) });
    }
  });

  it('are forgotten with their run', async () => {
    const { vcpu } = realMode(system, [...WRITE_A.slice(0, -1), ...WRITE_A]);
    await vcpu.run({ ports: [] });
    expect(await vcpu.run({ ports: [CONSOLE] })).toEqual({ reason: 'hlt' });
    expect(vcpu.takePortOutput()).toHaveLength(1);
  });

  it('lose nothing when the output is taken while the guest writes', async () => {
    const writes = 20_000;
    const { vcpu } = protectedMode(system, countDown(writes));
    const parts: Uint8Array[] = [];
    let done = false;
    const run = vcpu.run({ ports: [CONSOLE] }).finally(() => {
      done = true;
    });
    while (!done) {
      parts.push(vcpu.takePortOutput());
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await run).toEqual({ reason: 'hlt' });
    expect(parts.filter((part) => part.length > 0).length).toBeGreaterThan(1);
    expect(Buffer.compare(Buffer.concat([...parts, vcpu.takePortOutput()]), countedDown(writes))).toBe(0);
  });

  it('wait up to 1 MiB; then the next write is an exit, so that nothing is lost and memory does not grow', async () => {
    const writes = (1 << 18) + 1000;
    const { vcpu } = protectedMode(system, countDown(writes));
    const first = await vcpu.run({ ports: [CONSOLE] });
    expect(first).toMatchObject({ reason: 'io', direction: 'out', port: 0x3f8, size: 4 });
    const parts = [vcpu.takePortOutput(), (first as IoExit).data];
    expect(parts[0]).toHaveLength(1 << 20);
    expect(await vcpu.run({ ports: [CONSOLE] })).toEqual({ reason: 'hlt' });
    expect(Buffer.compare(Buffer.concat([...parts, vcpu.takePortOutput()]), countedDown(writes))).toBe(0);
  });

  it('can still be read when the vCPU is closed', async () => {
    const { vcpu } = realMode(system, WRITE_A);
    await vcpu.run({ ports: [CONSOLE] });
    vcpu.close();
    expect(Buffer.from(vcpu.takePortOutput()).toString()).toBe('A');
  });
});
