// State of a vCPU beyond its registers, and the MSR filter: arch/x86/include/uapi/asm/kvm.h, Linux 6.16.
import { kvmDtable, kvmSegment } from './registers.js';
import { array, bytes, nested, struct, u8, u16, u32, u64 } from './struct.js';

export const kvmFpu = struct('kvm_fpu', 416, {
  fpr: bytes(0, 128),
  fcw: u16(128),
  fsw: u16(130),
  ftwx: u8(132),
  last_opcode: u16(134),
  last_ip: u64(136),
  last_dp: u64(144),
  xmm: bytes(152, 256),
  mxcsr: u32(408),
});

export const kvmXcr = struct('kvm_xcr', 16, { xcr: u32(0), value: u64(8) });

export const kvmXcrs = struct('kvm_xcrs', 392, {
  nr_xcrs: u32(0),
  flags: u32(4),
  xcrs: array(8, 16, (offset) => nested(offset, kvmXcr)),
});

const exception = struct('exception', 8, {
  injected: u8(0),
  nr: u8(1),
  has_error_code: u8(2),
  pending: u8(3),
  error_code: u32(4),
});
const interrupt = struct('interrupt', 4, { injected: u8(0), nr: u8(1), soft: u8(2), shadow: u8(3) });
const nmi = struct('nmi', 4, { injected: u8(0), pending: u8(1), masked: u8(2) });
const smi = struct('smi', 4, { smm: u8(0), pending: u8(1), smm_inside_nmi: u8(2), latched_init: u8(3) });
const tripleFault = struct('triple_fault', 1, { pending: u8(0) });

export const kvmVcpuEvents = struct('kvm_vcpu_events', 64, {
  exception: nested(0, exception),
  interrupt: nested(8, interrupt),
  nmi: nested(12, nmi),
  sipi_vector: u32(16),
  flags: u32(20),
  smi: nested(24, smi),
  triple_fault: nested(28, tripleFault),
  exception_has_payload: u8(55),
  exception_payload: u64(56),
});

export const kvmMsrFilterRange = struct('kvm_msr_filter_range', 24, {
  flags: u32(0),
  nmsrs: u32(4),
  base: u32(8),
  bitmap: u64(16),
});

export const kvmMsrFilter = struct('kvm_msr_filter', 392, {
  flags: u32(0),
  ranges: array(8, 16, (offset) => nested(offset, kvmMsrFilterRange)),
});

export const kvmSregs2 = struct('kvm_sregs2', 320, {
  cs: nested(0, kvmSegment),
  ds: nested(24, kvmSegment),
  es: nested(48, kvmSegment),
  fs: nested(72, kvmSegment),
  gs: nested(96, kvmSegment),
  ss: nested(120, kvmSegment),
  tr: nested(144, kvmSegment),
  ldt: nested(168, kvmSegment),
  gdt: nested(192, kvmDtable),
  idt: nested(208, kvmDtable),
  cr0: u64(224),
  cr2: u64(232),
  cr3: u64(240),
  cr4: u64(248),
  cr8: u64(256),
  efer: u64(264),
  apic_base: u64(272),
  flags: u64(280),
  pdptrs: array(288, 4, u64),
});

export const kvmDebugregs = struct('kvm_debugregs', 128, {
  db: array(0, 4, u64),
  dr6: u64(32),
  dr7: u64(40),
  flags: u64(48),
});

export const kvmMpState = struct('kvm_mp_state', 4, { mp_state: u32(0) });

/** The registers of a local APIC. */
export const kvmLapicState = struct('kvm_lapic_state', 1024, { regs: bytes(0, 1024) });

export const kvmXsave = struct('kvm_xsave', 4096, { region: bytes(0, 4096) });

/** Its header; nested state of a vCPU that has none is no longer. */
export const kvmNestedState = struct('kvm_nested_state', 128, {
  flags: u16(0),
  format: u16(2),
  size: u32(4),
  vmxon_pa: u64(8),
  vmcs12_pa: u64(16),
  smm_flags: u16(24),
  vmx_flags: u32(28),
});

/** Its entries are behind it. */
export const kvmMsrs = struct('kvm_msrs', 8, { nmsrs: u32(0), pad: u32(4) });
export const kvmMsrEntry = struct('kvm_msr_entry', 16, { index: u32(0), reserved: u32(4), data: u64(8) });
/** Its indices are behind it. */
export const kvmMsrList = struct('kvm_msr_list', 4, { nmsrs: u32(0) });

export const kvmX86Mce = struct('kvm_x86_mce', 64, {
  status: u64(0),
  addr: u64(8),
  misc: u64(16),
  mcg_status: u64(24),
  bank: u8(32),
});

export const kvmTprAccessCtl = struct('kvm_tpr_access_ctl', 40, { enabled: u32(0), flags: u32(4) });
export const kvmVapicAddr = struct('kvm_vapic_addr', 8, { vapic_addr: u64(0) });
export const kvmInterrupt = struct('kvm_interrupt', 4, { irq: u32(0) });
/** Its signal set is behind it. */
export const kvmSignalMask = struct('kvm_signal_mask', 4, { len: u32(0) });
export const kvmGuestDebug = struct('kvm_guest_debug', 72, { control: u32(0), debugreg: array(8, 8, u64) });
export const kvmPreFaultMemory = struct('kvm_pre_fault_memory', 64, { gpa: u64(0), size: u64(8), flags: u64(16) });

export const kvmTranslation = struct('kvm_translation', 24, {
  linear_address: u64(0),
  physical_address: u64(8),
  valid: u8(16),
  writeable: u8(17),
  usermode: u8(18),
});
