// KVM_MEMORY_ENCRYPT_OP on a TD: arch/x86/include/uapi/asm/kvm.h, Linux 6.16.
import { kvmCpuid2 } from './cpuid.js';
import { array, bytes, nested, struct, u32, u64 } from './struct.js';

export const kvmTdxCmd = struct('kvm_tdx_cmd', 24, {
  id: u32(0),
  flags: u32(4),
  data: u64(8),
  hw_error: u64(16),
});

/** Up to its entries: `cpuid.entries` is at its end. */
export const kvmTdxCapabilities = struct('kvm_tdx_capabilities', 2056, {
  supported_attrs: u64(0),
  supported_xfam: u64(8),
  kernel_tdvmcallinfo_1_r11: u64(16),
  user_tdvmcallinfo_1_r11: u64(24),
  kernel_tdvmcallinfo_1_r12: u64(32),
  user_tdvmcallinfo_1_r12: u64(40),
  cpuid: nested(2048, kvmCpuid2),
});

/** Up to its entries: `cpuid.entries` is at its end. */
export const kvmTdxInitVm = struct('kvm_tdx_init_vm', 264, {
  attributes: u64(0),
  xfam: u64(8),
  mrconfigid: bytes(16, 48),
  mrowner: bytes(64, 48),
  mrownerconfig: bytes(112, 48),
  reserved: array(160, 12, u64),
  cpuid: nested(256, kvmCpuid2),
});

export const kvmTdxInitMemRegion = struct('kvm_tdx_init_mem_region', 24, {
  source_addr: u64(0),
  gpa: u64(8),
  nr_pages: u64(16),
});
