import type { CpuidEntry } from './cpuid.js';
import type { GuestMemfd, GuestMemory } from './memory.js';
import type { KvmVcpu } from './vcpu.js';

/** `struct kvm_tdx_capabilities`. */
export interface TdxCapabilities {
  /** Attributes that KVM_TDX_INIT_VM takes: 1 = may be set. */
  supportedAttrs: bigint;
  /** XFAM bits that KVM_TDX_INIT_VM takes: 1 = may be set. */
  supportedXfam: bigint;
  kernelTdvmcallinfo1R11: bigint;
  userTdvmcallinfo1R11: bigint;
  kernelTdvmcallinfo1R12: bigint;
  userTdvmcallinfo1R12: bigint;
  /**
   * Directly configurable CPUID bits: a 1 may be configured. KVM gives `flags` 0 even for indexed leaves and folds "no
   * sub-leaf" to index 0, so match by (function, index).
   */
  cpuid: CpuidEntry[];
}

/** `struct kvm_tdx_init_vm`. */
export interface TdxInitVm {
  attributes: bigint;
  xfam: bigint;
  /** 48 bytes each; left out means zeros. */
  mrConfigId?: Uint8Array;
  mrOwner?: Uint8Array;
  mrOwnerConfig?: Uint8Array;
  /** At most 256. Set KVM_CPUID_FLAG_SIGNIFCANT_INDEX on entries of indexed leaves. */
  cpuid: CpuidEntry[];
}

/** `struct kvm_userspace_memory_region`, with memory in place of an address. */
export interface MemoryRegion {
  slot: number;
  /** KVM_MEM_* bits; KVM_MEM_GUEST_MEMFD only with setUserMemoryRegion2. */
  flags?: number;
  /** Guest physical address, bytes, page-aligned. */
  gpa: bigint;
  /** Bytes, page-aligned; 0 deletes the slot. */
  size: number;
  memory: GuestMemory | null;
  /** Bytes into `memory`, page-aligned. */
  memoryOffset?: number;
}

/** `struct kvm_userspace_memory_region2`. */
export interface MemoryRegion2 extends MemoryRegion {
  guestMemfd?: GuestMemfd | null;
  /** Bytes into `guestMemfd`, page-aligned. */
  guestMemfdOffset?: number;
}

/** `struct kvm_msr_filter`, each range all allowed or all denied. A later range does not override an earlier one. */
export interface MsrFilter {
  /** What happens to an MSR in no range. The kernel refuses (EINVAL) to deny all without a range. */
  denyOthers: boolean;
  /** At most 16. */
  ranges: readonly { first: number; last: number; read: boolean; write: boolean; allow: boolean }[];
}

/** The KVM_MEMORY_ENCRYPT_OP sub-commands of a TD's VM descriptor. Each throws KvmError with `hwError` where the kernel gives one. */
export interface TdxVmOps {
  /** KVM_TDX_CAPABILITIES, grown until it fits. @throws KvmError ENOTTY on a VM that is not a TD. */
  capabilities(): TdxCapabilities;
  /** KVM_TDX_INIT_VM. A failed call may be retried on the same VM. */
  initVm(params: TdxInitVm): void;
  /** KVM_TDX_FINALIZE_VM: ends the measurement. EBUSY is retryable, most other failures leave a dead VM. */
  finalizeVm(): void;
  /** KVM_TDX_TERMINATE_VM (id 6). @returns false where the kernel does not have it. */
  terminateVm(): boolean;
}

/** One VM descriptor. */
export interface KvmVm extends Disposable {
  readonly type: number;
  readonly closed: boolean;
  readonly tdx: TdxVmOps;

  /** KVM_CHECK_EXTENSION on the VM: what this VM supports, which may differ from `/dev/kvm`. */
  checkExtension(capability: number): number;
  /** KVM_ENABLE_CAP. @param args up to four u64 arguments. @param flags u32, 0 for every known capability. */
  enableCap(capability: number, args?: readonly bigint[], flags?: number): void;
  /** KVM_CREATE_VCPU. @param id vcpu_id, unique in the VM (a repeated one is refused here: it corrupts a TDX kernel). */
  createVcpu(id: number): KvmVcpu;
  /** KVM_SET_TSC_KHZ for vCPUs created later. 0 means the host's. */
  setTscKhz(khz: number): void;
  /** KVM_GET_TSC_KHZ. */
  getTscKhz(): number;
  /** KVM_SET_USER_MEMORY_REGION. */
  setUserMemoryRegion(region: MemoryRegion): void;
  /** KVM_SET_USER_MEMORY_REGION2. */
  setUserMemoryRegion2(region: MemoryRegion2): void;
  /** KVM_CREATE_GUEST_MEMFD. @param size bytes, page-aligned. @param flags u64. */
  createGuestMemfd(size: number, flags?: bigint): GuestMemfd;
  /** KVM_SET_MEMORY_ATTRIBUTES. @param size bytes. @param attributes KVM_MEMORY_ATTRIBUTE_PRIVATE or 0. */
  setMemoryAttributes(gpa: bigint, size: bigint, attributes: bigint): void;
  /** KVM_SET_TSS_ADDR. */
  setTssAddr(gpa: number): void;
  /** KVM_SET_IDENTITY_MAP_ADDR. */
  setIdentityMapAddr(gpa: bigint): void;
  /** KVM_X86_SET_MSR_FILTER. Denied accesses are #GP, or exits where KVM_CAP_X86_USER_SPACE_MSR asks for them. */
  setMsrFilter(filter: MsrFilter): void;

  /** Stops and closes the vCPUs, then the guest_memfds, then the VM. Safe to call twice. */
  close(): void;
}
