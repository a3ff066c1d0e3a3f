import { readdirSync, readFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import type { GuestEngine } from '../../src/mock/guest/engine.js';
import { kvmEngine } from '../../src/mock/guest/kvm/engine.js';
import { open, unusable } from './kernel.js';
import { CODE, HLT, longMode, next } from './long-mode.js';

const SPIN = [0xeb, 0xfe];
const threads = (): number => readdirSync('/proc/self/task').length;
const descriptors = (): number => readdirSync('/proc/self/fd').length;
/** Bytes of address space. */
const size = (): number => Number(/VmSize:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))![1]) * 1024;

describe.skipIf(unusable !== undefined)('how a run on a plain VM ends', () => {
  let engine: GuestEngine | undefined;
  afterEach(() => engine?.close());

  it('by its signal, in an endless loop, and goes on where it was', async () => {
    engine = await kvmEngine(open);
    // hlt; again: inc rax; jmp again
    const { td, vcpu } = longMode(engine, [HLT, 0x48, 0xff, 0xc0, 0xeb, 0xfb]);
    await next(vcpu);
    vcpu.rip += 1n;
    vcpu.gprs[0] = 0n;
    expect(await vcpu.run(AbortSignal.timeout(20))).toEqual({ kind: 'interrupted' });
    const [count] = vcpu.gprs;
    expect(count).toBeGreaterThan(0n);
    expect(await vcpu.run(AbortSignal.timeout(20))).toEqual({ kind: 'interrupted' });
    expect(vcpu.gprs[0]).toBeGreaterThan(count!);
    expect([BigInt(CODE + 1), BigInt(CODE + 4)]).toContain(vcpu.rip);
    td.close();
  });

  it('by its signal before it begins: nothing is executed', async () => {
    engine = await kvmEngine(open);
    const { td, vcpu } = longMode(engine, SPIN);
    expect(await vcpu.run(AbortSignal.abort())).toEqual({ kind: 'interrupted' });
    expect(vcpu.rip).toBe(0xffff_fff0n);
    td.close();
  });

  it.each([
    ['vCPU', ({ vcpu }: ReturnType<typeof longMode>) => vcpu.close()],
    ['TD', ({ td }: ReturnType<typeof longMode>) => td.close()],
    ['engine', () => engine!.close()],
  ])('by closing its %s', async (_, close) => {
    engine = await kvmEngine(open);
    const guest = longMode(engine, SPIN);
    const run = next(guest.vcpu);
    await new Promise((resolve) => setTimeout(resolve, 20));
    close(guest);
    expect(await run).toEqual({ kind: 'interrupted' });
    guest.td.close();
  });

  it('and leaves no thread, no descriptor and no memory behind', async () => {
    const once = async (): Promise<void> => {
      const local = await kvmEngine(open);
      const { td, vcpu } = longMode(local, SPIN);
      const second = td.createVcpu(1, new BigUint64Array(16));
      await Promise.all([vcpu.run(AbortSignal.timeout(5)), second.run(AbortSignal.timeout(5))]);
      local.close();
    };
    await once();
    const before = [threads(), descriptors()];
    const bytes = size();
    for (let i = 0; i < 10; i++) await once();
    expect([threads(), descriptors()]).toEqual(before);
    // Ten TDs of 512 MiB of address space each would show.
    expect(size() - bytes).toBeLessThan(2 ** 30);
  });
});
