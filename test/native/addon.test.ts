// The addon itself, below the adapter: it must be safe whatever it is given.
import { createRequire } from 'node:module';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Addon } from '../../src/native/addon.js';
import { nativeStatus, readNativeCpuid } from '../../src/native/index.js';

const status = nativeStatus();
const require = createRequire(import.meta.url);

describe.skipIf(!status.available)('the addon', () => {
  const addon = status.available ? (require(status.path!) as Addon) : (undefined as never);

  /** One handle of each class. */
  function handles() {
    const system = addon.openSystem('/dev/kvm');
    const vm = system.createVm(0);
    return { system, vm, vcpu: vm.createVcpu(0), memory: system.createMemory(4096) };
  }

  it('runs a method only on an object of its class', () => {
    const all = handles();
    const objects = [...Object.values(all), {}, null, 1, Object.create(all.vm), new Proxy(all.vm, {})];
    for (const handle of Object.values(all)) {
      const prototype = Object.getPrototypeOf(handle) as Record<string, (...args: unknown[]) => unknown>;
      for (const name of Object.getOwnPropertyNames(prototype)) {
        if (name === 'constructor') continue;
        for (const other of objects) {
          if (other === handle) continue;
          expect(() => prototype[name]!.call(other), name).toThrow(TypeError);
        }
      }
    }
    all.system.close();
  });

  it('makes no object for JavaScript', () => {
    const all = handles();
    for (const handle of Object.values(all)) {
      const Class = handle.constructor as new (...args: unknown[]) => unknown;
      expect(() => new Class()).toThrow(/cannot be constructed/);
      expect(() => new Class(all.system)).toThrow(/cannot be constructed/);
      expect(() => Reflect.construct(Class, [], Object)).toThrow(TypeError);
    }
    all.system.close();
  });

  it('takes a handle of the right class only', () => {
    const { system, vm, vcpu, memory } = handles();
    for (const wrong of [vm, vcpu, system, {}, Object.create(memory), new Proxy(memory, {})]) {
      const region = [0, 0, 0n, 4096, wrong as never, 0] as const;
      expect(() => vm.setUserMemoryRegion(...region)).toThrow(TypeError);
      expect(() => vcpu.tdxInitMemRegion(wrong as never, 0, 0n, 1, true)).toThrow(TypeError);
    }
    system.close();
  });

  it('reads and writes typed arrays of any kind only as far as they go', () => {
    const { system, memory } = handles();
    const detached = new Uint8Array(64);
    structuredClone(detached.buffer, { transfer: [detached.buffer] });
    memory.write(0, detached);
    memory.read(4096, detached);
    memory.write(4090, new Uint8Array(new SharedArrayBuffer(6)));
    expect(() => memory.write(4091, new Uint8Array(6))).toThrow(RangeError);
    expect(() => memory.write(0, new Uint32Array(1) as never)).toThrow(TypeError);
    expect(() => memory.write(0, new DataView(new ArrayBuffer(8)) as never)).toThrow(TypeError);
    const view = new Uint8Array(new ArrayBuffer(32), 8, 16).fill(1);
    memory.write(
      0,
      Uint8Array.from({ length: 32 }, (_, i) => i),
    );
    memory.read(0, view);
    expect([...new Uint8Array(view.buffer)].slice(7, 25)).toEqual([0, ...Array.from({ length: 16 }, (_, i) => i), 0]);
    system.close();
  });

  it('survives any arguments to any method', () => {
    const value = fc.oneof(
      fc.anything({ withBigInt: true, withTypedArray: true, withSparseArray: true }),
      fc.bigInt({ min: -1n, max: 2n ** 65n }),
      fc.constantFrom(null, undefined, -1, 0, 1, 7, 4096, 2 ** 32, 2 ** 53, Number.NaN, 0n, 1n),
      fc.uint8Array({ maxLength: 300 }),
      fc.uint32Array({ maxLength: 30 }),
      fc.bigUint64Array({ maxLength: 120 }),
    );
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(), fc.nat(), fc.array(value, { maxLength: 8 })), { maxLength: 20 }),
        (calls) => {
          const all = handles();
          const targets = Object.values(all) as unknown as Record<string, (...args: unknown[]) => unknown>[];
          for (const [which, method, args] of calls) {
            const target = targets[which % targets.length]!;
            const names = Object.getOwnPropertyNames(Object.getPrototypeOf(target)).filter(
              (name) => name !== 'constructor',
            );
            const mixed = args.map((arg) => (arg === 7 ? all.memory : arg));
            try {
              target[names[method % names.length]!]!(...mixed);
            } catch (error) {
              expect(error).toBeInstanceOf(Error);
            }
          }
          all.system.close();
        },
      ),
      { numRuns: 300 },
    );
  });

  it('answers for a serial only while its handle lives, and only of its own kind', () => {
    const { system, vm } = handles();
    expect(addon.systemCheckExtension(system.serial(), 3)).toBe(1);
    expect(addon.vmCheckExtension(vm.serial(), 3)).toBe(1);
    expect(() => addon.systemCheckExtension(vm.serial(), 3)).toThrow(TypeError);
    expect(() => addon.vmCheckExtension(system.serial(), 3)).toThrow(TypeError);
    for (const wrong of [undefined, null, -1, 0, 0.5, 2 ** 40, Number.NaN, '1', {}, 1n]) {
      expect(() => addon.systemCheckExtension(wrong as never, 3)).toThrow();
      if (wrong !== 0) expect(() => addon.systemCheckExtension(system.serial(), wrong as never)).toThrow();
    }
    vm.close();
    system.close();
    expect(() => addon.vmCheckExtension(vm.serial(), 3)).toThrow(/VM is closed/);
    expect(() => addon.systemCheckExtension(system.serial(), 3)).toThrow(/closed/);
  });

  it('executes CPUID', () => {
    const leaf0 = readNativeCpuid(0)!;
    expect(leaf0.eax).toBeGreaterThan(0);
    const vendor = new TextDecoder().decode(Uint32Array.of(leaf0.ebx, leaf0.edx, leaf0.ecx));
    expect(vendor).toMatch(/^[\x20-\x7e]{12}$/);
    expect(() => readNativeCpuid(-1)).toThrow(RangeError);
    expect(() => readNativeCpuid(0, 2 ** 32)).toThrow(RangeError);
  });
});
