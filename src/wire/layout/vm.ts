// Requests on a VM: include/uapi/linux/kvm.h, Linux 6.16.
import { array, struct, u32, u64 } from './struct.js';

export const kvmEnableCap = struct('kvm_enable_cap', 104, { cap: u32(0), flags: u32(4), args: array(8, 4, u64) });

export const kvmUserspaceMemoryRegion = struct('kvm_userspace_memory_region', 32, {
  slot: u32(0),
  flags: u32(4),
  guest_phys_addr: u64(8),
  memory_size: u64(16),
  userspace_addr: u64(24),
});

export const kvmUserspaceMemoryRegion2 = struct('kvm_userspace_memory_region2', 160, {
  slot: u32(0),
  flags: u32(4),
  guest_phys_addr: u64(8),
  memory_size: u64(16),
  userspace_addr: u64(24),
  guest_memfd_offset: u64(32),
  guest_memfd: u32(40),
});

export const kvmMemoryAttributes = struct('kvm_memory_attributes', 32, {
  address: u64(0),
  size: u64(8),
  attributes: u64(16),
  flags: u64(24),
});

export const kvmCreateGuestMemfd = struct('kvm_create_guest_memfd', 64, { size: u64(0), flags: u64(8) });
