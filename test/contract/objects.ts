import { describe, expect, it } from 'vitest';
import { KVM_CAP, type KvmSystem } from '../../src/kvm/index.js';
import type { Backend } from './backend.js';
import { expectKvmError, expectStateError } from './expect-error.js';

const UNKNOWN_CAPABILITY = 0x7fff_fff0;

export function objectContract(backend: Backend): void {
  const withSystem = (test: (system: KvmSystem) => void) => () => {
    using system = backend.open();
    test(system);
  };

  describe('the system', () => {
    it(
      'says which backend it is, and in one line what it is',
      withSystem((system) => {
        expect(system.backend).toBe(backend.name === 'native' ? 'native' : 'mock');
        expect(system.description).toMatch(/^\S.+\S$/);
      }),
    );

    it(
      'speaks version 12 of the KVM API',
      withSystem((system) => expect(system.getApiVersion()).toBe(12)),
    );

    it(
      'answers 0 for an extension that does not exist, and more for one that does',
      withSystem((system) => {
        expect(system.checkExtension(UNKNOWN_CAPABILITY)).toBe(0);
        expect(system.checkExtension(KVM_CAP.USER_MEMORY)).toBe(1);
        expect(system.checkExtension(KVM_CAP.IMMEDIATE_EXIT)).toBe(1);
      }),
    );

    it(
      'maps at least one page for each vCPU',
      withSystem((system) => expect(system.getVcpuMmapSize()).toBeGreaterThanOrEqual(4096)),
    );

    it(
      'lists the supported CPUID, leaf 0 first',
      withSystem((system) => {
        const entries = system.getSupportedCpuid();
        expect(entries.length).toBeGreaterThan(10);
        expect(entries[0]).toMatchObject({ function: 0, index: 0 });
        for (const entry of entries) {
          for (const field of ['function', 'index', 'flags', 'eax', 'ebx', 'ecx', 'edx'] as const) {
            expect(Number.isInteger(entry[field]) && entry[field] >= 0 && entry[field] <= 0xffff_ffff).toBe(true);
          }
        }
      }),
    );
  });

  describe('a VM', () => {
    it(
      'can be made many times',
      withSystem((system) => {
        const vms = Array.from({ length: 20 }, () => system.createVm(0));
        expect(vms.every((vm) => vm.type === 0 && !vm.closed)).toBe(true);
      }),
    );

    it(
      'of a type that does not exist is refused with EINVAL, shaped like an error of Node',
      withSystem((system) => {
        const error = expectKvmError(() => system.createVm(31), 'EINVAL', 'KVM_CREATE_VM');
        expect(error).toMatchObject({ errno: -22, syscall: 'ioctl', name: 'KvmError' });
        expect(error.message).toMatch(/^EINVAL: invalid argument, ioctl\(KVM_CREATE_VM\)/);
      }),
    );

    it(
      'has extensions of its own',
      withSystem((system) => {
        const vm = system.createVm(0);
        expect(vm.checkExtension(UNKNOWN_CAPABILITY)).toBe(0);
        expect(vm.checkExtension(KVM_CAP.MAX_VCPUS)).toBeGreaterThanOrEqual(1);
      }),
    );

    it(
      'enables a capability once it exists, with the right arguments',
      withSystem((system) => {
        const vm = system.createVm(0);
        expectKvmError(() => vm.enableCap(UNKNOWN_CAPABILITY), 'EINVAL', 'KVM_ENABLE_CAP');
        expectKvmError(() => vm.enableCap(KVM_CAP.SPLIT_IRQCHIP, [24n], 1), 'EINVAL', 'KVM_ENABLE_CAP');
        expectKvmError(() => vm.enableCap(KVM_CAP.SPLIT_IRQCHIP, [4097n]), 'EINVAL', 'KVM_ENABLE_CAP');
        vm.enableCap(KVM_CAP.SPLIT_IRQCHIP, [24n]);
        expectKvmError(() => vm.enableCap(KVM_CAP.SPLIT_IRQCHIP, [24n]), 'EEXIST', 'KVM_ENABLE_CAP');
      }),
    );

    it(
      'that is no TD has no TDX commands: ENOTTY',
      withSystem((system) => {
        const vm = system.createVm(0);
        expectKvmError(() => vm.tdx.capabilities(), 'ENOTTY', 'KVM_TDX_CAPABILITIES');
        expectKvmError(() => vm.tdx.finalizeVm(), 'ENOTTY', 'KVM_TDX_FINALIZE_VM');
        expectKvmError(() => vm.tdx.initVm({ attributes: 0n, xfam: 3n, cpuid: [] }), 'ENOTTY', 'KVM_TDX_INIT_VM');
      }),
    );
  });

  describe('a vCPU', () => {
    it(
      'knows its id, and does not run',
      withSystem((system) => {
        const vcpu = system.createVm(0).createVcpu(1);
        expect(vcpu).toMatchObject({ id: 1, closed: false, running: false });
      }),
    );

    it(
      'with an id of KVM_CAP_MAX_VCPU_ID or more is refused with EINVAL',
      withSystem((system) => {
        const vm = system.createVm(0);
        const most = vm.checkExtension(KVM_CAP.MAX_VCPU_ID);
        expectKvmError(() => vm.createVcpu(most), 'EINVAL', 'KVM_CREATE_VCPU');
      }),
    );

    it(
      'with the id of another is refused before the kernel hears of it, also once that is closed',
      withSystem((system) => {
        const vm = system.createVm(0);
        const first = vm.createVcpu(0);
        expectStateError(() => vm.createVcpu(0), 'ERR_KVM_DUPLICATE_VCPU');
        first.close();
        expectStateError(() => vm.createVcpu(0), 'ERR_KVM_DUPLICATE_VCPU');
        vm.createVcpu(1);
        system.createVm(0).createVcpu(0);
      }),
    );
  });
}
