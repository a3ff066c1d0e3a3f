// An exit of KVM_RUN in words: the same facts as fields, for JSON, and as a line, for people.
import { decodeTdxStatus, type ExitReply, type VcpuExit } from '../../kvm/index.js';
import { decodeFatalError } from '../run/fatal-error.js';

/** Facts of an exit by name; u64 values and addresses are `0x...` strings, bytes hexadecimal. */
export type Facts = Record<string, string | number | boolean>;

export interface ExitText {
  /** The kernel's name, such as `KVM_EXIT_IO`. */
  name: string;
  facts: Facts;
}

export const hex = (value: bigint | number): string => `0x${value.toString(16)}`;

/** Bytes of a reply or a write that are shown. */
const SHOWN_BYTES = 16;

/** At most 16 bytes, lowest address first. */
function bytesText(bytes: Uint8Array): string {
  const shown = Buffer.from(bytes.subarray(0, SHOWN_BYTES)).toString('hex');
  return bytes.length > SHOWN_BYTES ? `${shown}... (${bytes.length} bytes)` : shown;
}

const quoted = (bytes: Uint8Array): Facts => {
  const text = Buffer.from(bytes).toString('latin1');
  return /^[\x20-\x7e]+$/.test(text) ? { text: JSON.stringify(text) } : {};
};

const MAP_GPA_RANGE = 12n;
const ENCRYPTED = 0x10n;

export function exitText(exit: VcpuExit): ExitText {
  switch (exit.reason) {
    case 'io': {
      const { direction, port, size, count, data } = exit;
      const facts: Facts = { direction, port: hex(port), size };
      if (count > 1) facts['count'] = count;
      if (direction === 'out') Object.assign(facts, { data: bytesText(data) }, quoted(data));
      return { name: 'KVM_EXIT_IO', facts };
    }
    case 'mmio': {
      const { gpa, isWrite, data } = exit;
      const facts: Facts = { direction: isWrite ? 'write' : 'read', gpa: hex(gpa), size: data.length };
      if (isWrite) facts['data'] = bytesText(data);
      return { name: 'KVM_EXIT_MMIO', facts };
    }
    case 'hypercall': {
      const { nr, args } = exit;
      const [gpa = 0n, pages = 0n, attributes = 0n] = args;
      if (nr !== MAP_GPA_RANGE) return { name: 'KVM_EXIT_HYPERCALL', facts: { nr: hex(nr) } };
      const to = attributes & ENCRYPTED ? 'private' : 'shared';
      return { name: 'KVM_EXIT_HYPERCALL', facts: { call: 'MapGPA', gpa: hex(gpa), pages: Number(pages), to } };
    }
    case 'memory-fault': {
      const { gpa, size, isPrivate } = exit;
      const facts = { gpa: hex(gpa), size: hex(size), access: isPrivate ? 'private' : 'shared' };
      return { name: 'KVM_EXIT_MEMORY_FAULT', facts };
    }
    case 'system-event': {
      if (exit.type !== 7) return { name: 'KVM_EXIT_SYSTEM_EVENT', facts: { type: exit.type } };
      const { code, text, gpa } = decodeFatalError(exit.data);
      const facts: Facts = { call: 'ReportFatalError', code: hex(code), text: JSON.stringify(text) };
      if (gpa !== undefined) facts['gpa'] = hex(gpa);
      return { name: 'KVM_EXIT_SYSTEM_EVENT', facts };
    }
    case 'tdx':
      return { name: 'KVM_EXIT_TDX', facts: tdxFacts(exit) };
    case 'x86-rdmsr':
      return { name: 'KVM_EXIT_X86_RDMSR', facts: { msr: hex(exit.index) } };
    case 'x86-wrmsr':
      return { name: 'KVM_EXIT_X86_WRMSR', facts: { msr: hex(exit.index), value: hex(exit.data) } };
    case 'internal-error': {
      const { suberror, data, detail } = exit;
      const facts: Facts = { suberror };
      if (data.length > 0) facts['data'] = data.map(hex).join(' ');
      if (detail !== undefined) facts['detail'] = detail;
      const status = suberror === 4 && data[0] !== undefined ? decodeTdxStatus(data[0]) : undefined;
      if (status && status.name !== 'unknown' && status.error) facts['status'] = status.text;
      return { name: 'KVM_EXIT_INTERNAL_ERROR', facts };
    }
    case 'fail-entry':
      return {
        name: 'KVM_EXIT_FAIL_ENTRY',
        facts: { hardwareEntryFailureReason: hex(exit.hardwareEntryFailureReason), cpu: exit.cpu },
      };
    case 'unknown': {
      const facts: Facts = { exitReason: exit.exitReason };
      if (exit.detail !== undefined) facts['detail'] = exit.detail;
      return { name: 'KVM_EXIT_UNKNOWN', facts };
    }
    case 'hlt':
      return { name: 'KVM_EXIT_HLT', facts: {} };
    case 'shutdown':
      return { name: 'KVM_EXIT_SHUTDOWN', facts: {} };
    case 'irq-window-open':
      return { name: 'KVM_EXIT_IRQ_WINDOW_OPEN', facts: {} };
    case 'intr':
      return { name: 'KVM_EXIT_INTR', facts: {} };
  }
}

function tdxFacts(exit: Extract<VcpuExit, { reason: 'tdx' }>): Facts {
  switch (exit.call) {
    case 'get-quote':
      return { call: 'GetQuote', gpa: hex(exit.gpa), size: hex(exit.size) };
    case 'get-td-vm-call-info':
      return { call: 'GetTdVmCallInfo', leaf: Number(exit.leaf) };
    case 'setup-event-notify-interrupt':
      return { call: 'SetupEventNotifyInterrupt', vector: Number(exit.vector) };
    default:
      return { nr: hex(exit.nr) };
  }
}

/** What the guest was given, as facts. */
export function replyFacts(reply: ExitReply): Facts {
  const facts: Facts = {};
  if (reply.data !== undefined) facts['data'] = bytesText(reply.data);
  if (reply.ret !== undefined) facts['ret'] = hex(reply.ret);
  if (reply.msr?.error) facts['msr'] = '#GP';
  if (reply.msr?.data !== undefined) facts['value'] = hex(reply.msr.data);
  for (const [name, value] of Object.entries(reply.tdVmCallInfo ?? {})) facts[name] = hex(value as bigint);
  return facts;
}

export const factsLine = (facts: Facts): string =>
  Object.entries(facts)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ');

/** `KVM_EXIT_IO (direction out, port 0x3f8, size 1, data 48)`. */
export function exitLine(exit: VcpuExit): string {
  const { name, facts } = exitText(exit);
  const text = factsLine(facts);
  return text ? `${name} (${text})` : name;
}
