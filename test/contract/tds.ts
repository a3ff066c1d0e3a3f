// What a TDX kernel does with a TD, as far as any TDX host or model must. Not run where there is no TDX VM type.
import { describe, expect, it } from 'vitest';
import {
  type CpuidEntry,
  KVM_CAP,
  KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
  KVM_MEM_GUEST_MEMFD,
  KVM_MEMORY_ATTRIBUTE_PRIVATE,
  KVM_X86_TDX_VM,
  type KvmSystem,
  type KvmVm,
} from '../../src/kvm/index.js';
import type { Backend } from './backend.js';
import { expectKvmError, expectStateError } from './expect-error.js';

const GPAW_LEAF = 0x8000_0008;
const GPA = 0xffff_f000n;

/** Supported CPUID within what may be configured, GPAW 48. */
function cpuidOf(system: KvmSystem, vm: KvmVm): CpuidEntry[] {
  const supported = system.getSupportedCpuid();
  return vm.tdx.capabilities().cpuid.map((mask) => {
    const host = supported.find((entry) => entry.function === mask.function && entry.index === mask.index);
    const both = (register: 'eax' | 'ebx' | 'ecx' | 'edx') => ((host?.[register] ?? 0) & mask[register]) >>> 0;
    const eax = mask.function === GPAW_LEAF ? ((both('eax') & 0xff) | (48 << 16)) >>> 0 : both('eax');
    return {
      function: mask.function,
      index: mask.index,
      flags: host?.flags ?? (mask.index === 0 ? 0 : KVM_CPUID_FLAG_SIGNIFCANT_INDEX),
      eax,
      ebx: both('ebx'),
      ecx: both('ecx'),
      edx: both('edx'),
    };
  });
}

function newTd(system: KvmSystem): KvmVm {
  const vm = system.createVm(KVM_X86_TDX_VM);
  vm.enableCap(KVM_CAP.SPLIT_IRQCHIP, [24n]);
  return vm;
}

function initialised(system: KvmSystem): KvmVm {
  const vm = newTd(system);
  vm.tdx.initVm({ attributes: 0n, xfam: 3n, cpuid: cpuidOf(system, vm) });
  return vm;
}

export function tdContract(backend: Backend): void {
  describe('TD', () => {
    it('capabilities list what may be configured, each leaf once', () => {
      using system = backend.open();
      const capabilities = newTd(system).tdx.capabilities();
      expect(capabilities.supportedAttrs).not.toBe(0n);
      expect(capabilities.supportedXfam & 3n).toBe(3n);
      const keys = capabilities.cpuid.map((entry) => `${entry.function}.${entry.index}`);
      expect(new Set(keys).size).toBe(keys.length);
      expect(keys).toContain(`${GPAW_LEAF}.0`);
    });

    it('has no vCPU before KVM_TDX_INIT_VM: EIO, and the id stays free', () => {
      using system = backend.open();
      const vm = newTd(system);
      expectKvmError(() => vm.createVcpu(0), 'EIO', 'KVM_CREATE_VCPU');
      vm.tdx.initVm({ attributes: 0n, xfam: 3n, cpuid: cpuidOf(system, vm) });
      expect(vm.createVcpu(0).id).toBe(0);
      expectStateError(() => vm.createVcpu(0), 'ERR_KVM_DUPLICATE_VCPU');
    });

    it('is initialised once, and a refused attempt may be repeated', () => {
      using system = backend.open();
      const vm = newTd(system);
      const cpuid = cpuidOf(system, vm);
      const error = expectKvmError(
        () => vm.tdx.initVm({ attributes: 1n << 63n, xfam: 3n, cpuid }),
        'EINVAL',
        'KVM_TDX_INIT_VM',
      );
      expect(error.hwError).toBeUndefined();
      vm.tdx.initVm({ attributes: 0n, xfam: 3n, cpuid });
      expectKvmError(() => vm.tdx.initVm({ attributes: 0n, xfam: 3n, cpuid }), 'EINVAL', 'KVM_TDX_INIT_VM');
    });

    it('takes measured pages and is finalised', () => {
      using system = backend.open();
      const vm = initialised(system);
      const vcpu = vm.createVcpu(0);
      vcpu.setCpuid2(vcpu.tdx.getCpuid());
      vcpu.tdx.initVcpu(0n);
      const shared = system.createMemory(8192);
      const guestMemfd = vm.createGuestMemfd(8192);
      const gpa = GPA - 4096n;
      vm.setUserMemoryRegion2({ slot: 0, flags: KVM_MEM_GUEST_MEMFD, gpa, size: 8192, memory: shared, guestMemfd });
      const source = system.createMemory(8192);
      const region = { source, sourceOffset: 0, gpa, nrPages: 2, measure: true };
      expectKvmError(() => vcpu.tdx.initMemRegion(region), 'EINVAL', 'KVM_TDX_INIT_MEM_REGION');
      vm.setMemoryAttributes(gpa, 8192n, KVM_MEMORY_ATTRIBUTE_PRIVATE);
      const progress: number[] = [];
      vcpu.tdx.initMemRegion({ ...region, onProgress: (done) => progress.push(done) });
      expect(progress.at(-1)).toBe(2);
      const again = expectKvmError(() => vcpu.tdx.initMemRegion(region), 'EEXIST', 'KVM_TDX_INIT_MEM_REGION');
      expect(again.pagesDone).toBe(0);
      vm.tdx.finalizeVm();
      expectKvmError(() => vm.tdx.finalizeVm(), 'EINVAL', 'KVM_TDX_FINALIZE_VM');
      expectKvmError(() => vm.createVcpu(1), 'EIO', 'KVM_CREATE_VCPU');
    });

    it('does not run before it is finalised: EINVAL', async () => {
      using system = backend.open();
      const vm = initialised(system);
      const vcpu = vm.createVcpu(0);
      await expect(vcpu.run()).rejects.toMatchObject({ code: 'EINVAL', request: 'KVM_RUN' });
    });

    it('terminates if the kernel can, and says false if it cannot', () => {
      using system = backend.open();
      expect([true, false]).toContain(initialised(system).tdx.terminateVm());
    });
  });
}
