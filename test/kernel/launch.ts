import { KVM_CAP, KVM_MEM_GUEST_MEMFD, KVM_MEMORY_ATTRIBUTE_PRIVATE, KVM_X86_TDX_VM } from '../../src/kvm/constants.js';
import type { CpuidEntry, GuestMemfd, GuestMemory, KvmError, KvmSystem, KvmVcpu, KvmVm } from '../../src/kvm/index.js';

export const X2APIC = 1 << 21;
export const SEPT_VE_DISABLE = 1n << 28n;

export const entry = (leaf: number, values: Partial<CpuidEntry> = {}): CpuidEntry => ({
  function: leaf,
  index: 0,
  flags: 0,
  eax: 0,
  ebx: 0,
  ecx: 0,
  edx: 0,
  ...values,
});

/** CPUID(0x80000008) with a guest physical address width. */
export const gpaw = (bits: 48 | 52): CpuidEntry => entry(0x8000_0008, { eax: bits << 16 });

export const initParams = (bits: 48 | 52 = 48) => ({ attributes: SEPT_VE_DISABLE, xfam: 0xe7n, cpuid: [gpaw(bits)] });

/** What KVM_SET_CPUID2 needs at least for a TD with GPAW 48. */
export const vcpuCpuid = [entry(1, { ecx: X2APIC })];

/** A TD as far as KVM_TDX_INIT_VM. */
export function createTd(system: KvmSystem): KvmVm {
  const vm = system.createVm(KVM_X86_TDX_VM);
  vm.enableCap(KVM_CAP.SPLIT_IRQCHIP, [24n]);
  vm.tdx.initVm(initParams());
  return vm;
}

export interface BuiltTd {
  vm: KvmVm;
  vcpu: KvmVcpu;
  memory: GuestMemory;
  memfd: GuestMemfd;
}

export const TD_GPA = 0x10_0000n;

/** A TD with one initialised vCPU and `pages` pages of private memory at TD_GPA, none of them added yet. */
export function buildTd(system: KvmSystem, pages = 16): BuiltTd {
  const vm = createTd(system);
  const vcpu = vm.createVcpu(0);
  vcpu.setCpuid2(vcpuCpuid);
  vcpu.tdx.initVcpu(0x1234n);
  const size = pages * 4096;
  const memory = system.createMemory(size);
  const memfd = vm.createGuestMemfd(size);
  vm.setUserMemoryRegion2({ slot: 0, flags: KVM_MEM_GUEST_MEMFD, gpa: TD_GPA, size, memory, guestMemfd: memfd });
  vm.setMemoryAttributes(TD_GPA, BigInt(size), KVM_MEMORY_ATTRIBUTE_PRIVATE);
  return { vm, vcpu, memory, memfd };
}

export const addPages = ({ vcpu, memory }: BuiltTd, nrPages: number, first = 0): void =>
  vcpu.tdx.initMemRegion({
    source: memory,
    sourceOffset: first * 4096,
    gpa: TD_GPA + BigInt(first) * 4096n,
    nrPages,
    measure: true,
  });

/** The error that `body` throws. */
export function refusal(body: () => unknown): KvmError {
  try {
    body();
  } catch (error) {
    return error as KvmError;
  }
  throw new Error('nothing was refused');
}
