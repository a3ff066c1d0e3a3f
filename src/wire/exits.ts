import { KVM_EXIT } from '../kvm/constants.js';
import type { ExitReply, IoExit, MmioExit, TdxExit, VcpuExit } from '../kvm/exits.js';
import { kvmRun, PIO_DATA_OFFSET, runMembers } from './layout/run.js';
import type { RunPage } from './run-page.js';

/** What KVM answers a TDG.VP.VMCALL with where user space leaves `ret` alone: TDVMCALL_STATUS_SUBFUNC_UNSUPPORTED. */
const UNSUPPORTED = 0x8000_0000_0000_0003n;

const EXIT_REASON: Readonly<Record<Exclude<VcpuExit['reason'], 'unknown'>, number>> = {
  io: KVM_EXIT.IO,
  mmio: KVM_EXIT.MMIO,
  hlt: KVM_EXIT.HLT,
  'irq-window-open': KVM_EXIT.IRQ_WINDOW_OPEN,
  shutdown: KVM_EXIT.SHUTDOWN,
  hypercall: KVM_EXIT.HYPERCALL,
  'x86-rdmsr': KVM_EXIT.X86_RDMSR,
  'x86-wrmsr': KVM_EXIT.X86_WRMSR,
  'memory-fault': KVM_EXIT.MEMORY_FAULT,
  'system-event': KVM_EXIT.SYSTEM_EVENT,
  tdx: KVM_EXIT.TDX,
  'internal-error': KVM_EXIT.INTERNAL_ERROR,
  'fail-entry': KVM_EXIT.FAIL_ENTRY,
  intr: KVM_EXIT.INTR,
};

/** kvm_run.exit_reason. */
export const exitReason = (exit: VcpuExit): number =>
  exit.reason === 'unknown' ? exit.exitReason : EXIT_REASON[exit.reason];

/** Writes an exit into kvm_run as KVM leaves it for user space: its reason and its member of the union. */
export function writeExit(page: RunPage, exit: VcpuExit): void {
  page.set(kvmRun.fields.exit_reason, exitReason(exit));
  const { failEntry, hypercall, internal, memoryFault, msr, systemEvent } = runMembers;
  switch (exit.reason) {
    case 'io':
      writeIo(page, exit);
      break;
    case 'mmio':
      writeMmio(page, exit);
      break;
    case 'hypercall':
      page.put(hypercall, { nr: exit.nr, args: exit.args, ret: 0n, flags: exit.flags });
      break;
    case 'x86-rdmsr':
      page.put(msr, { reason: exit.why, index: exit.index });
      break;
    case 'x86-wrmsr':
      page.put(msr, { reason: exit.why, index: exit.index, data: exit.data });
      break;
    case 'memory-fault':
      page.put(memoryFault, { flags: exit.flags, gpa: exit.gpa, size: exit.size });
      break;
    case 'system-event':
      page.put(systemEvent, { type: exit.type, ndata: exit.data.length, data: exit.data });
      break;
    case 'internal-error':
      page.put(internal, { suberror: exit.suberror, ndata: exit.data.length, data: exit.data });
      break;
    case 'fail-entry': {
      const { hardwareEntryFailureReason, cpu } = exit;
      page.put(failEntry, { hardware_entry_failure_reason: hardwareEntryFailureReason, cpu });
      break;
    }
    case 'tdx':
      writeTdx(page, exit);
      break;
  }
}

function writeIo(page: RunPage, { direction, size, port, count, data }: IoExit): void {
  page.put(runMembers.io, {
    direction: direction === 'out' ? 1 : 0,
    size,
    port,
    count,
    data_offset: BigInt(PIO_DATA_OFFSET),
  });
  if (direction === 'out') page.writePortData(data);
}

function writeMmio(page: RunPage, { gpa, isWrite, data }: MmioExit): void {
  const given = isWrite ? data : new Uint8Array(0);
  page.put(runMembers.mmio, { phys_addr: gpa, data: given, len: data.length, is_write: isWrite ? 1 : 0 });
}

/** kvm_run.tdx with what KVM presets as the answer. */
function writeTdx(page: RunPage, exit: TdxExit): void {
  page.put(runMembers.tdx, { flags: exit.flags, nr: exit.nr });
  switch (exit.call) {
    case 'get-quote':
      page.put(runMembers.getQuote, { ret: UNSUPPORTED, gpa: exit.gpa, size: exit.size });
      break;
    case 'get-td-vm-call-info':
      page.put(runMembers.getTdvmcallInfo, { ret: 0n, leaf: exit.leaf });
      break;
    case 'setup-event-notify-interrupt':
      page.put(runMembers.setupEventNotify, { ret: UNSUPPORTED, vector: exit.vector });
      break;
  }
}

/** What user space has put into kvm_run for the exit that it was shown, whether it looked at it or not. */
export function readReply(page: RunPage, exit: VcpuExit | undefined): ExitReply {
  switch (exit?.reason) {
    case 'io':
      return exit.direction === 'in' ? { data: page.readPortData(exit.size * exit.count) } : {};
    case 'mmio':
      return exit.isWrite ? {} : { data: page.take(runMembers.mmio).data.subarray(0, exit.data.length) };
    case 'hypercall':
      return { ret: page.take(runMembers.hypercall).ret };
    case 'x86-rdmsr':
    case 'x86-wrmsr': {
      const { error, data } = page.take(runMembers.msr);
      return { msr: { error: error !== 0, data } };
    }
    case 'tdx':
      return readTdxReply(page, exit);
    default:
      return {};
  }
}

function readTdxReply(page: RunPage, exit: TdxExit): ExitReply {
  switch (exit.call) {
    case 'get-quote':
      return { ret: page.take(runMembers.getQuote).ret };
    case 'get-td-vm-call-info': {
      const { ret, r11, r12, r13, r14 } = page.take(runMembers.getTdvmcallInfo);
      return { ret, tdVmCallInfo: { r11, r12, r13, r14 } };
    }
    case 'setup-event-notify-interrupt':
      return { ret: page.take(runMembers.setupEventNotify).ret };
    case 'unknown':
      return {};
  }
}
