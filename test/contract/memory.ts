import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { GuestMemory, KvmSystem, KvmVm } from '../../src/kvm/index.js';
import type { Backend } from './backend.js';
import { expectKvmError, expectStateError, thrownBy } from './expect-error.js';

const SIZE = 65536;

export function memoryContract(backend: Backend): void {
  const withVm = (test: (vm: KvmVm, memory: GuestMemory, system: KvmSystem) => void) => () => {
    using system = backend.open();
    test(system.createVm(0), system.createMemory(SIZE), system);
  };

  describe('guest memory', () => {
    it(
      'begins as zeros, keeps what is written, and forgets what is discarded',
      withVm((_, memory) => {
        expect(memory.size).toBe(SIZE);
        expect(memory.read(0, SIZE).every((byte) => byte === 0)).toBe(true);
        memory.write(4090, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
        expect([...memory.read(4089, 10)]).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 0]);
        memory.discard(4096, 4096);
        expect([...memory.read(4089, 10)]).toEqual([0, 1, 2, 3, 4, 5, 6, 0, 0, 0]);
      }),
    );

    it(
      'gives copies: later writes do not change what was read',
      withVm((_, memory) => {
        const before = memory.read(0, 4);
        memory.write(0, Uint8Array.of(9));
        expect(before[0]).toBe(0);
        before[1] = 7;
        expect(memory.read(0, 2)[1]).toBe(0);
      }),
    );

    it(
      'refuses every range that is not inside it',
      withVm((_, memory) => {
        const outside = fc
          .tuple(fc.maxSafeNat(), fc.nat(2 * SIZE))
          .filter(([offset, length]) => offset + length > SIZE);
        fc.assert(
          fc.property(outside, ([offset, length]) => {
            expect(thrownBy(() => memory.read(offset, length))).toBeInstanceOf(RangeError);
            expect(thrownBy(() => memory.write(offset, new Uint8Array(length)))).toBeInstanceOf(RangeError);
          }),
        );
        expect(memory.read(SIZE, 0).length).toBe(0);
      }),
    );

    it(
      'is discarded by whole pages only',
      withVm((_, memory) => {
        expect(thrownBy(() => memory.discard(1, 4096))).toBeInstanceOf(RangeError);
        expect(thrownBy(() => memory.discard(0, 4095))).toBeInstanceOf(RangeError);
        expect(thrownBy(() => memory.discard(0, SIZE + 4096))).toBeInstanceOf(RangeError);
      }),
    );

    it.each([0, 1, 4095, 4097, -4096, 0.5, Number.NaN])('of %d bytes is a RangeError', (size) => {
      using system = backend.open();
      expect(thrownBy(() => system.createMemory(size))).toBeInstanceOf(RangeError);
    });
  });

  describe('a memory slot', () => {
    it(
      'is set, replaced and deleted',
      withVm((vm, memory) => {
        vm.setUserMemoryRegion({ slot: 0, gpa: 0n, size: SIZE, memory });
        vm.setUserMemoryRegion2({ slot: 1, gpa: 0x10_0000n, size: 8192, memory, memoryOffset: 4096 });
        vm.setUserMemoryRegion({ slot: 0, gpa: 0n, size: 0, memory: null });
        vm.setUserMemoryRegion({ slot: 0, gpa: 0x20_0000n, size: 4096, memory });
      }),
    );

    it(
      'that overlaps another is refused with EEXIST',
      withVm((vm, memory) => {
        vm.setUserMemoryRegion({ slot: 0, gpa: 0n, size: SIZE, memory });
        const overlapping = { slot: 1, gpa: 4096n, size: 4096, memory };
        expectKvmError(() => vm.setUserMemoryRegion(overlapping), 'EEXIST', 'KVM_SET_USER_MEMORY_REGION');
        expectKvmError(() => vm.setUserMemoryRegion2(overlapping), 'EEXIST', 'KVM_SET_USER_MEMORY_REGION2');
      }),
    );

    it(
      'that is not page-aligned is refused with EINVAL',
      withVm((vm, memory) => {
        for (const wrong of [{ gpa: 1n }, { size: 100 }, { memoryOffset: 8, size: 4096 }]) {
          const region = { slot: 0, gpa: 0n, size: 4096, memory, ...wrong };
          expectKvmError(() => vm.setUserMemoryRegion(region), 'EINVAL', 'KVM_SET_USER_MEMORY_REGION');
        }
      }),
    );

    it(
      'reaches no byte outside its memory',
      withVm((vm, memory) => {
        for (const wrong of [{ size: SIZE + 4096 }, { memoryOffset: SIZE }, { memoryOffset: 2 ** 52 }]) {
          const region = { slot: 0, gpa: 0n, size: 4096, memory, ...wrong };
          expect(thrownBy(() => vm.setUserMemoryRegion(region))).toBeInstanceOf(RangeError);
          expect(thrownBy(() => vm.setUserMemoryRegion2(region))).toBeInstanceOf(RangeError);
        }
      }),
    );

    it(
      'takes no memory of another system, and none that is closed',
      withVm((vm, memory) => {
        using other = backend.open();
        const region = { slot: 0, gpa: 0n, size: 4096, memory: other.createMemory(4096) };
        expectStateError(() => vm.setUserMemoryRegion(region), 'ERR_KVM_FOREIGN_OBJECT');
        memory.close();
        expectStateError(() => vm.setUserMemoryRegion({ ...region, memory }), 'ERR_KVM_CLOSED');
      }),
    );
  });
}
