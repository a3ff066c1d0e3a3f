import { KVM_CAP, KVM_X86_TDX_VM } from '../kvm/constants.js';
import type { CpuidEntry } from '../kvm/cpuid.js';
import { KvmError } from '../kvm/errors.js';
import type { KvmSystem } from '../kvm/system.js';
import type { KvmVm, TdxCapabilities } from '../kvm/vm.js';
import { entryAt, fieldOf, gpawOf } from './cpuid-entries.js';

/** What an open system says about the TDs it can make. */
export interface TdHostFacts {
  /** KVM_TDX_CAPABILITIES. */
  readonly capabilities: TdxCapabilities;
  /** KVM_GET_SUPPORTED_CPUID. */
  readonly supportedCpuid: readonly CpuidEntry[];
  /** KVM_CHECK_EXTENSION(KVM_CAP_MAX_VCPUS) on a TD's VM: TD_PARAMS.MAX_VCPUS unless it is set. */
  readonly maxVcpus: number;
  /** The same on /dev/kvm: what KVM could ever give a VM. */
  readonly systemMaxVcpus: number;
  /** KVM_ENABLE_CAP(KVM_CAP_MAX_VCPUS) works on a TD's VM. */
  readonly maxVcpusSettable: boolean;
  /** KVM_GET_TSC_KHZ on a VM that nobody set: the host's frequency; 0 where the kernel does not say. */
  readonly tscKhz: number;
  /** The processor has 5-level EPT; undefined where the kernel does not say. */
  readonly fiveLevelEpt: boolean | undefined;
}

/** Native MAXPA, the processor's physical address bits, or undefined where KVM does not say. */
export function nativeMaxpa(supportedCpuid: readonly CpuidEntry[]): number | undefined {
  const entry = entryAt(supportedCpuid, 0x8000_0008, 0);
  return entry === undefined ? undefined : fieldOf(entry.eax, 7, 0) || undefined;
}

/**
 * Whether the processor has 5-level EPT, of KVM_GET_SUPPORTED_CPUID: KVM caps CPUID(0x80000008).EAX[23:16] at 48 where its
 * MMU has no fifth level (arch/x86/kvm/cpuid.c, Linux 6.10 and newer; older ones give 0).
 */
export function fiveLevelEpt(supportedCpuid: readonly CpuidEntry[]): boolean | undefined {
  const addressable = gpawOf(entryAt(supportedCpuid, 0x8000_0008, 0)?.eax ?? 0);
  const maxpa = nativeMaxpa(supportedCpuid);
  if (addressable === 0 || maxpa === undefined) return undefined;
  if (addressable > 48) return true;
  return maxpa > 48 ? false : undefined;
}

/** KVM_GET_TSC_KHZ of a VM: what KVM would put into TD_PARAMS; 0 where the kernel does not say. */
export function tscKhzOf(vm: KvmVm): number {
  try {
    return vm.getTscKhz();
  } catch (error) {
    if (error instanceof KvmError) return 0;
    throw error;
  }
}

/** True if the kernel takes KVM_ENABLE_CAP(KVM_CAP_MAX_VCPUS) on this VM; `value` is what it already has. */
function acceptsMaxVcpus(vm: KvmVm, value: number): boolean {
  try {
    vm.enableCap(KVM_CAP.MAX_VCPUS, [BigInt(value)]);
    return true;
  } catch (error) {
    if (error instanceof KvmError) return false;
    throw error;
  }
}

/**
 * Asks an open system what TDs it can make. Creates a TD's VM and closes it again; no KeyID is taken, since
 * KVM_TDX_INIT_VM is not called.
 * @throws KvmError EINVAL of KVM_CREATE_VM where KVM offers no TDs.
 */
export function gatherHostFacts(system: KvmSystem): TdHostFacts {
  const supportedCpuid = system.getSupportedCpuid();
  const vm = system.createVm(KVM_X86_TDX_VM);
  try {
    const maxVcpus = vm.checkExtension(KVM_CAP.MAX_VCPUS);
    return {
      capabilities: vm.tdx.capabilities(),
      supportedCpuid,
      maxVcpus,
      systemMaxVcpus: system.checkExtension(KVM_CAP.MAX_VCPUS),
      maxVcpusSettable: acceptsMaxVcpus(vm, maxVcpus),
      tscKhz: tscKhzOf(vm),
      fiveLevelEpt: fiveLevelEpt(supportedCpuid),
    };
  } finally {
    vm.close();
  }
}
