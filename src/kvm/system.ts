import type { CpuidEntry } from './cpuid.js';
import type { GuestMemory } from './memory.js';
import type { KvmVm } from './vm.js';

/** Which implementation answers. Everything that runs on `mock` says so in its output. */
export type BackendKind = 'native' | 'mock';

/** `/dev/kvm`, or the model of one. */
export interface KvmSystem extends Disposable {
  readonly backend: BackendKind;
  /** One line for people: which kernel or which profile this is, and why it was chosen. */
  readonly description: string;
  readonly closed: boolean;

  /** KVM_GET_API_VERSION: 12 on every kernel that matters. */
  getApiVersion(): number;
  /** KVM_CHECK_EXTENSION on `/dev/kvm`: 0 means unsupported. @param capability one of {@link KVM_CAP}. */
  checkExtension(capability: number): number;
  /** KVM_CREATE_VM. @param type 0 a plain VM, 5 a TD. @throws KvmError EINVAL if `type` is not in KVM_CAP_VM_TYPES. */
  createVm(type: number): KvmVm;
  /** KVM_GET_VCPU_MMAP_SIZE, bytes. */
  getVcpuMmapSize(): number;
  /** KVM_GET_SUPPORTED_CPUID, grown until it fits. */
  getSupportedCpuid(): CpuidEntry[];
  /** Anonymous memory of this process, for memory slots and page sources. @param size bytes, a multiple of 4096. */
  createMemory(size: number): GuestMemory;

  /** Closes the VMs and the memory that came from here, then the system. Safe to call twice. */
  close(): void;
}
