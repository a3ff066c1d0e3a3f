import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { KvmError, KvmStateError, type KvmSystem } from '../../src/kvm/index.js';
import type { Backend } from './backend.js';
import { thrownBy } from './expect-error.js';

/** Values that no caller should pass, and some that it may. */
const odd = fc.oneof(
  fc.constantFrom<unknown>(
    undefined,
    null,
    true,
    '',
    '0',
    Number.NaN,
    Infinity,
    -0,
    -1,
    0.5,
    2 ** 32,
    2 ** 53,
    2 ** 64,
  ),
  fc.constantFrom<unknown>(-1n, 0n, 1n, 2n ** 64n, 2n ** 63n, 2n ** 200n, Symbol('odd'), {}, [], () => 0),
  fc.integer({ min: -5, max: 5000 }),
  fc.bigInt({ min: -5n, max: 2n ** 65n }),
  fc.uint8Array({ maxLength: 200 }),
  fc.record({ length: fc.nat(), size: fc.nat() }),
  fc.anything(),
);

/** Every method, called with whatever it is given. */
function methods(system: KvmSystem): Record<string, (...args: never[]) => unknown> {
  const vm = system.createVm(0);
  const vcpu = vm.createVcpu(4000);
  const memory = system.createMemory(65536);
  const region = (memoryOffset: never, size: never, gpa: never, slot: never, flags: never) =>
    vm.setUserMemoryRegion2({ slot, flags, gpa, size, memory, memoryOffset });
  return {
    checkExtension: (...args) => system.checkExtension(...(args as unknown as [never])),
    createVm: (...args) => system.createVm(...(args as unknown as [never])).close(),
    createMemory: (...args) => system.createMemory(...(args as unknown as [never])).close(),
    read: (...args) => memory.read(...(args as unknown as [never, never])),
    write: (...args) => memory.write(...(args as unknown as [never, never])),
    discard: (...args) => memory.discard(...(args as unknown as [never, never])),
    'vm.checkExtension': (...args) => vm.checkExtension(...(args as unknown as [never])),
    enableCap: (...args) => system.createVm(0).enableCap(...(args as unknown as [never, never, never])),
    createVcpu: (...args) => vm.createVcpu(...(args as unknown as [never])).close(),
    setTscKhz: (...args) => vm.setTscKhz(...(args as unknown as [never])),
    setUserMemoryRegion: (...args) => vm.setUserMemoryRegion(...(args as unknown as [never])),
    setUserMemoryRegion2: (...args) => vm.setUserMemoryRegion2(...(args as unknown as [never])),
    'setUserMemoryRegion2, fields': region,
    createGuestMemfd: (...args) => vm.createGuestMemfd(...(args as unknown as [never, never])).close(),
    setMemoryAttributes: (...args) => vm.setMemoryAttributes(...(args as unknown as [never, never, never])),
    setTssAddr: (...args) => vm.setTssAddr(...(args as unknown as [never])),
    setIdentityMapAddr: (...args) => vm.setIdentityMapAddr(...(args as unknown as [never])),
    initVm: (...args) => vm.tdx.initVm(...(args as unknown as [never])),
    'initVm, fields': (attributes, xfam, mrOwner, cpuid) => vm.tdx.initVm({ attributes, xfam, mrOwner, cpuid }),
    setCpuid2: (...args) => vcpu.setCpuid2(...(args as unknown as [never])),
    'setCpuid2, fields': (eax, index, flags) =>
      vcpu.setCpuid2([{ function: 0, index, flags, eax, ebx: 0, ecx: 0, edx: 0 }]),
    setRegs: (...args) => vcpu.setRegs(...(args as unknown as [never])),
    'setRegs, fields': (rax, rip) => vcpu.setRegs({ ...vcpu.getRegs(), rax, rip }),
    setSregs: (...args) => vcpu.setSregs(...(args as unknown as [never])),
    'setSregs, fields': (base, limit, type, cr2, interruptBitmap) => {
      const sregs = vcpu.getSregs();
      vcpu.setSregs({ ...sregs, ds: { ...sregs.ds, base, limit, type }, cr2, interruptBitmap });
    },
    initVcpu: (...args) => vcpu.tdx.initVcpu(...(args as unknown as [never])),
    initMemRegion: (...args) => vcpu.tdx.initMemRegion(...(args as unknown as [never])),
    'initMemRegion, fields': (sourceOffset, gpa, nrPages, measure, onProgress) =>
      vcpu.tdx.initMemRegion({ source: memory, sourceOffset, gpa, nrPages, measure, onProgress }),
  };
}

const isExpected = (error: unknown): boolean =>
  error instanceof TypeError ||
  error instanceof RangeError ||
  error instanceof KvmError ||
  error instanceof KvmStateError;

export function argumentContract(backend: Backend): void {
  describe('wrong arguments', () => {
    using system = backend.unavailable === undefined ? backend.open() : undefined;
    const names = system ? Object.keys(methods(system)) : [];

    it.each(names)('%s answers anything with a result or an error of ours', (name) => {
      using system = backend.open();
      const method = methods(system)[name]!;
      fc.assert(
        fc.property(fc.array(odd, { maxLength: 5 }), (args) => {
          try {
            method(...(args as never[]));
          } catch (error) {
            if (!isExpected(error)) throw error;
          }
        }),
        { numRuns: 200 },
      );
    });

    it('run answers anything with an error of ours', async () => {
      using system = backend.open();
      const vcpu = system.createVm(0).createVcpu(0);
      vcpu.close(); // what is right in its arguments must not run
      await fc.assert(
        fc.asyncProperty(odd, odd, odd, odd, async (whole, reply, signal, ports) => {
          for (const options of [
            whole,
            { reply, signal, ports },
            { reply: { data: reply, ret: signal }, ports: [ports] },
          ]) {
            const error = await vcpu.run(options as never).then(
              () => undefined,
              (reason: unknown) => reason,
            );
            expect(isExpected(error), String(error)).toBe(true);
          }
        }),
      );
    });

    const u32 = [-1, 2 ** 32, 0.5, Number.NaN, Infinity];
    it.each(u32)('%d is no capability, type, id or kHz: RangeError, and nothing is asked of the kernel', (wrong) => {
      using system = backend.open();
      const vm = system.createVm(0);
      for (const call of [
        () => system.checkExtension(wrong),
        () => system.createVm(wrong),
        () => vm.checkExtension(wrong),
        () => vm.enableCap(wrong),
        () => vm.createVcpu(wrong),
        () => vm.setTscKhz(wrong),
      ]) {
        expect(thrownBy(call)).toBeInstanceOf(RangeError);
      }
    });

    it.each(['1', null, undefined, 1n, {}, true])('%s is not a number: TypeError', (wrong) => {
      using system = backend.open();
      const vm = system.createVm(0);
      for (const call of [
        () => system.checkExtension(wrong as never),
        () => system.createVm(wrong as never),
        () => system.createMemory(wrong as never),
        () => vm.createVcpu(wrong as never),
      ]) {
        expect(thrownBy(call)).toBeInstanceOf(TypeError);
      }
    });

    it.each([-1n, 2n ** 64n])('%d does not fit 64 bits: RangeError', (wrong) => {
      using system = backend.open();
      const vm = system.createVm(0);
      const memory = system.createMemory(4096);
      for (const call of [
        () => vm.enableCap(1, [wrong]),
        () => vm.setMemoryAttributes(wrong, 4096n, 0n),
        () => vm.setMemoryAttributes(0n, 4096n, wrong),
        () => vm.setUserMemoryRegion({ slot: 0, gpa: wrong, size: 4096, memory }),
        () => vm.tdx.initVm({ attributes: wrong, xfam: 0n, cpuid: [] }),
        () => vm.createVcpu(0).tdx.initVcpu(wrong),
      ]) {
        expect(thrownBy(call)).toBeInstanceOf(RangeError);
      }
    });

    it('an error names the value, what it should be and what it is', () => {
      using system = backend.open();
      const vcpu = system.createVm(0).createVcpu(0);
      const entry = { function: 1, index: 0, flags: 0, eax: 2 ** 32, ebx: 0, ecx: 0, edx: 0 };
      expect(() => vcpu.setCpuid2([entry])).toThrow(/entries\[0\]\.eax .*0 to 4294967295.*4294967296/);
    });

    it('the source of pages must be memory of the same system, and hold all of them', () => {
      using system = backend.open();
      using other = backend.open();
      const vcpu = system.createVm(0).createVcpu(0);
      const source = system.createMemory(8192);
      const region = { source, sourceOffset: 0, gpa: 0n, nrPages: 1, measure: true };
      for (const wrong of [{ nrPages: 3 }, { sourceOffset: 4097 }, { sourceOffset: 8192 }, { nrPages: 2 ** 52 }]) {
        expect(thrownBy(() => vcpu.tdx.initMemRegion({ ...region, ...wrong }))).toBeInstanceOf(RangeError);
      }
      expect(thrownBy(() => vcpu.tdx.initMemRegion({ ...region, source: other.createMemory(4096) }))).toMatchObject({
        code: 'ERR_KVM_FOREIGN_OBJECT',
      });
      expect(thrownBy(() => vcpu.tdx.initMemRegion({ ...region, source: {} as never }))).toBeInstanceOf(TypeError);
    });
  });
}
