import { describe, expect, it } from 'vitest';
import type { KvmSystem } from '../../src/kvm/index.js';
import type { Backend } from './backend.js';
import { expectStateError } from './expect-error.js';

/** One of everything, and every request that each object has. */
function everything(system: KvmSystem) {
  const memory = system.createMemory(4096);
  const vm = system.createVm(0);
  const vcpu = vm.createVcpu(0);
  const { tdx } = vm;
  const sregs = vcpu.getSregs();
  const regs = vcpu.getRegs();
  return {
    memory,
    vm,
    vcpu,
    requests: {
      system: [
        () => system.getApiVersion(),
        () => system.checkExtension(1),
        () => system.createVm(0),
        () => system.getVcpuMmapSize(),
        () => system.getSupportedCpuid(),
        () => system.createMemory(4096),
      ],
      memory: [() => memory.read(0, 1), () => memory.write(0, new Uint8Array(1)), () => memory.discard(0, 4096)],
      vm: [
        () => vm.checkExtension(1),
        () => vm.enableCap(1),
        () => vm.createVcpu(1),
        () => vm.setTscKhz(0),
        () => vm.getTscKhz(),
        () => vm.setUserMemoryRegion({ slot: 0, gpa: 0n, size: 0, memory: null }),
        () => vm.setUserMemoryRegion2({ slot: 0, gpa: 0n, size: 0, memory: null }),
        () => vm.createGuestMemfd(4096),
        () => vm.setMemoryAttributes(0n, 4096n, 0n),
        () => vm.setTssAddr(0),
        () => vm.setIdentityMapAddr(0n),
        () => tdx.capabilities(),
        () => tdx.initVm({ attributes: 0n, xfam: 0n, cpuid: [] }),
        () => tdx.finalizeVm(),
        () => tdx.terminateVm(),
      ],
      vcpu: [
        () => vcpu.setCpuid2([]),
        () => vcpu.getRegs(),
        () => vcpu.setRegs(regs),
        () => vcpu.getSregs(),
        () => vcpu.setSregs(sregs),
        () => vcpu.tdx.initVcpu(0n),
        () => vcpu.tdx.getCpuid(),
      ],
    },
  };
}

export function closingContract(backend: Backend): void {
  describe('closing', () => {
    it('may be done twice', () => {
      const system = backend.open();
      const { memory, vm, vcpu } = everything(system);
      for (const object of [vcpu, memory, vm, system]) {
        expect(object.closed).toBe(false);
        object.close();
        expect(object.closed).toBe(true);
        object.close();
        expect(object.closed).toBe(true);
      }
    });

    it('is what `using` does', () => {
      let outer: KvmSystem;
      {
        using system = backend.open();
        outer = system;
        expect(outer.closed).toBe(false);
      }
      expect(outer.closed).toBe(true);
    });

    it('of a system closes everything that came from it', () => {
      const system = backend.open();
      const { memory, vm, vcpu } = everything(system);
      system.close();
      expect([memory.closed, vm.closed, vcpu.closed]).toEqual([true, true, true]);
    });

    it('of a VM closes its vCPUs and leaves its system and memory', () => {
      using system = backend.open();
      const { memory, vm, vcpu } = everything(system);
      vm.close();
      expect([system.closed, memory.closed, vm.closed, vcpu.closed]).toEqual([false, false, true, true]);
    });

    it('makes every request of the object throw ERR_KVM_CLOSED', async () => {
      using system = backend.open();
      const { memory, vm, vcpu, requests } = everything(system);
      vcpu.close();
      for (const request of requests.vcpu) expectStateError(request, 'ERR_KVM_CLOSED');
      await expect(vcpu.run()).rejects.toMatchObject({ code: 'ERR_KVM_CLOSED' });
      memory.close();
      for (const request of requests.memory) expectStateError(request, 'ERR_KVM_CLOSED');
      vm.close();
      for (const request of requests.vm) expectStateError(request, 'ERR_KVM_CLOSED');
      system.close();
      for (const request of requests.system) expectStateError(request, 'ERR_KVM_CLOSED');
    });

    it('of memory leaves a slot that uses it intact', () => {
      using system = backend.open();
      const vm = system.createVm(0);
      const memory = system.createMemory(4096);
      vm.setUserMemoryRegion({ slot: 0, gpa: 0n, size: 4096, memory });
      memory.close();
      vm.setUserMemoryRegion({ slot: 0, gpa: 0n, size: 0, memory: null });
    });
  });
}
