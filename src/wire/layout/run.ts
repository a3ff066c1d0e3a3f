// struct kvm_run, the first of the pages that a vCPU shares with its VMM: include/uapi/linux/kvm.h, Linux 6.16.
import { array, bytes, type Fields, nested, type Struct, struct, u8, u16, u32, u64 } from './struct.js';

const failEntry = struct('fail_entry', 16, { hardware_entry_failure_reason: u64(0), cpu: u32(8) });

const io = struct('io', 16, { direction: u8(0), size: u8(1), port: u16(2), count: u32(4), data_offset: u64(8) });

const mmio = struct('mmio', 24, { phys_addr: u64(0), data: bytes(8, 8), len: u32(16), is_write: u8(20) });

const hypercall = struct('hypercall', 72, { nr: u64(0), args: array(8, 6, u64), ret: u64(56), flags: u64(64) });

const internal = struct('internal', 136, { suberror: u32(0), ndata: u32(4), data: array(8, 16, u64) });

const systemEvent = struct('system_event', 136, { type: u32(0), ndata: u32(4), data: array(8, 16, u64) });

const msr = struct('msr', 24, { error: u8(0), reason: u32(8), index: u32(12), data: u64(16) });

const memoryFault = struct('memory_fault', 24, { flags: u64(0), gpa: u64(8), size: u64(16) });

const getQuote = struct('get_quote', 24, { ret: u64(0), gpa: u64(8), size: u64(16) });
const getTdvmcallInfo = struct('get_tdvmcall_info', 48, {
  ret: u64(0),
  leaf: u64(8),
  r11: u64(16),
  r12: u64(24),
  r13: u64(32),
  r14: u64(40),
});
const setupEventNotify = struct('setup_event_notify', 16, { ret: u64(0), vector: u64(8) });

const tdx = struct('tdx', 64, {
  flags: u64(0),
  nr: u64(8),
  get_quote: nested(16, getQuote),
  get_tdvmcall_info: nested(16, getTdvmcallInfo),
  setup_event_notify: nested(16, setupEventNotify),
});

/** The members of its union, from `fail_entry` to `tdx`, lie over each other: read the one that exit_reason names. */
export const kvmRun = struct('kvm_run', 2352, {
  request_interrupt_window: u8(0),
  immediate_exit: u8(1),
  exit_reason: u32(8),
  ready_for_interrupt_injection: u8(12),
  if_flag: u8(13),
  flags: u16(14),
  cr8: u64(16),
  apic_base: u64(24),
  fail_entry: nested(32, failEntry),
  io: nested(32, io),
  mmio: nested(32, mmio),
  hypercall: nested(32, hypercall),
  internal: nested(32, internal),
  system_event: nested(32, systemEvent),
  msr: nested(32, msr),
  memory_fault: nested(32, memoryFault),
  tdx: nested(32, tdx),
  kvm_valid_regs: u64(288),
  kvm_dirty_regs: u64(296),
});

/** A structure at its place in kvm_run. */
export interface Member<F extends Fields> {
  offset: number;
  struct: Struct<F>;
}

const member = <F extends Fields>(offset: number, inner: Struct<F>): Member<F> => ({ offset, struct: inner });

const { fields } = kvmRun;
const TDX = fields.tdx.offset;
const tdxCall = struct('tdx', 16, { flags: u64(0), nr: u64(8) });

/** The members of the union, each by itself. */
export const runMembers = {
  failEntry: member(fields.fail_entry.offset, failEntry),
  io: member(fields.io.offset, io),
  mmio: member(fields.mmio.offset, mmio),
  hypercall: member(fields.hypercall.offset, hypercall),
  internal: member(fields.internal.offset, internal),
  systemEvent: member(fields.system_event.offset, systemEvent),
  msr: member(fields.msr.offset, msr),
  memoryFault: member(fields.memory_fault.offset, memoryFault),
  /** The part that all calls have. */
  tdx: member(TDX, tdxCall),
  getQuote: member(TDX + tdx.fields.get_quote.offset, getQuote),
  getTdvmcallInfo: member(TDX + tdx.fields.get_tdvmcall_info.offset, getTdvmcallInfo),
  setupEventNotify: member(TDX + tdx.fields.setup_event_notify.offset, setupEventNotify),
} as const;

/** KVM_PIO_PAGE_OFFSET: data of KVM_EXIT_IO, behind the page of kvm_run. */
export const PIO_DATA_OFFSET = 4096;
