// Interrupts, clocks, devices and logs of a VM: include/uapi/linux/kvm.h, arch/x86/include/uapi/asm/kvm.h, Linux 6.16.
import { bytes, i32, struct, u32, u64 } from './struct.js';

/** `irq` on the way in, `status` on the way out. */
export const kvmIrqLevel = struct('kvm_irq_level', 8, { irq: u32(0), level: u32(4) });

/** Its entries are behind it. */
export const kvmIrqRouting = struct('kvm_irq_routing', 8, { nr: u32(0), flags: u32(4) });

/** The members of its union lie over each other: `irqchip` and `pin`, or those of an MSI. */
export const kvmIrqRoutingEntry = struct('kvm_irq_routing_entry', 48, {
  gsi: u32(0),
  type: u32(4),
  flags: u32(8),
  irqchip: u32(16),
  pin: u32(20),
  address_lo: u32(16),
  address_hi: u32(20),
  data: u32(24),
});

export const kvmIrqfd = struct('kvm_irqfd', 32, { fd: i32(0), gsi: u32(4), flags: u32(8), resamplefd: i32(12) });

export const kvmIoeventfd = struct('kvm_ioeventfd', 64, {
  datamatch: u64(0),
  addr: u64(8),
  len: u32(16),
  fd: i32(20),
  flags: u32(24),
});

export const kvmMsi = struct('kvm_msi', 32, {
  address_lo: u32(0),
  address_hi: u32(4),
  data: u32(8),
  flags: u32(12),
  devid: u32(16),
});

export const kvmIrqchip = struct('kvm_irqchip', 520, { chip_id: u32(0), chip: bytes(8, 512) });
export const kvmPitConfig = struct('kvm_pit_config', 64, { flags: u32(0) });
export const kvmPitState = struct('kvm_pit_state', 72, { channels: bytes(0, 72) });
export const kvmPitState2 = struct('kvm_pit_state2', 112, { channels: bytes(0, 72), flags: u32(72) });
export const kvmReinjectControl = struct('kvm_reinject_control', 32, { pit_reinject: bytes(0, 1) });

export const kvmClockData = struct('kvm_clock_data', 48, {
  clock: u64(0),
  flags: u32(8),
  realtime: u64(16),
  host_tsc: u64(24),
});

export const kvmDirtyLog = struct('kvm_dirty_log', 16, { slot: u32(0), dirty_bitmap: u64(8) });

export const kvmClearDirtyLog = struct('kvm_clear_dirty_log', 24, {
  slot: u32(0),
  num_pages: u32(4),
  first_page: u64(8),
  dirty_bitmap: u64(16),
});

export const kvmCoalescedMmioZone = struct('kvm_coalesced_mmio_zone', 16, { addr: u64(0), size: u32(8), pio: u32(12) });
export const kvmCreateDevice = struct('kvm_create_device', 12, { type: u32(0), fd: u32(4), flags: u32(8) });
export const kvmDeviceAttr = struct('kvm_device_attr', 24, {
  flags: u32(0),
  group: u32(4),
  attr: u64(8),
  addr: u64(16),
});

/** Its events are behind it. */
export const kvmPmuEventFilter = struct('kvm_pmu_event_filter', 32, {
  action: u32(0),
  nevents: u32(4),
  fixed_counter_bitmap: u32(8),
  flags: u32(12),
});

export const kvmEncRegion = struct('kvm_enc_region', 16, { addr: u64(0), size: u64(8) });
