// What an exit that ends a run means: what happened, and what probably caused it.
import {
  decodeTdxStatus,
  type FailEntryExit,
  type InternalErrorExit,
  type KvmError,
  type MemoryFaultExit,
  type SystemEventExit,
  type VcpuExit,
} from '../../kvm/index.js';
import type { TdMemory } from '../memory.js';
import { decodeFatalError } from './fatal-error.js';
import type { End } from './outcome.js';

export interface ExplainContext {
  vcpu: number;
  /** Whether the VM is a TD. */
  td: boolean;
  memory?: TdMemory | undefined;
}

const hex = (value: bigint | number): string => `0x${value.toString(16)}`;

const TRIPLE_FAULT_IN_TD =
  'The guest met an exception that it has no handler for, and none for that. In a TD the first one mostly is #VE (vector 20): CPUID, IN, OUT, ' +
  'HLT and RDMSR cause it, so load an IDT with a #VE handler before them or use TDG.VP.VMCALL instead; or #GP: TDCALL works in 64-bit mode at CPL 0 only. A trace shows what it did before (tdxctl launch --trace)';
const TRIPLE_FAULT = 'The guest met an exception that it has no handler for, and none for that: look at its IDT';

export const tripleFault = ({ vcpu, td }: ExplainContext): End => ({
  how: 'triple-fault',
  vcpu,
  message: `vCPU ${vcpu} had a triple fault`,
  advice: td ? TRIPLE_FAULT_IN_TD : TRIPLE_FAULT,
  exit: { reason: 'shutdown' },
});

export function memoryFault(exit: MemoryFaultExit, { vcpu, memory }: ExplainContext): End {
  const kind = exit.isPrivate ? 'private' : 'shared';
  return {
    how: 'memory-fault',
    vcpu,
    message: `vCPU ${vcpu} accessed ${kind} memory at ${hex(exit.gpa)}, and there is none (KVM_EXIT_MEMORY_FAULT)`,
    advice: memoryFaultAdvice(exit, memory),
    exit,
  };
}

function memoryFaultAdvice({ gpa, isPrivate }: MemoryFaultExit, memory: TdMemory | undefined): string {
  const block = memory?.blockAt(gpa);
  if (memory && !block) {
    return `No memory was given to the TD there; it has ${memory.describe()}. Look for a wild pointer in the guest, or give it more memory (\`memory\` of the configuration)`;
  }
  if (isPrivate) {
    return 'The page is shared: the guest made it so with MapGPA. It has to set the SHARED bit in its page table, or convert the page back with MapGPA and accept it';
  }
  return 'The page is private: before a guest uses an address with the SHARED bit it asks for it with TDG.VP.VMCALL<MapGPA>';
}

export function internalError(exit: InternalErrorExit, { vcpu, td }: ExplainContext): End {
  const [first = 0n] = exit.data;
  const end = { how: 'internal-error', vcpu, exit } as const;
  if (exit.suberror === UNEXPECTED_EXIT_REASON && td) {
    const status = decodeTdxStatus(first);
    return {
      ...end,
      status,
      message: `vCPU ${vcpu} left the TD in a way that KVM does not handle: TDH.VP.ENTER gave ${status.text}`,
      advice: status.nonRecoverable
        ? 'The TDX module will not let this TD run again: close it and launch another; the kernel log has the same number (TD vp_enter_ret)'
        : 'The kernel log has the same number (TD vp_enter_ret)',
    };
  }
  if (exit.detail !== undefined) {
    return { ...end, message: `What executes vCPU ${vcpu} cannot go on: ${exit.detail}`, advice: ENGINE_LACKS };
  }
  const numbers = exit.data.map(hex).join(', ');
  return {
    ...end,
    message: `KVM could not go on with vCPU ${vcpu}: ${SUBERRORS[exit.suberror] ?? `suberror ${exit.suberror}`} (data ${numbers || 'none'})`,
    advice: 'The kernel log may say more',
  };
}

const ENGINE_LACKS =
  'No real TD would end here: the model lacks this instruction. The other engine may have it (tdxctl launch --engine, openKvm({ engine }))';
const UNEXPECTED_EXIT_REASON = 4;
/** KVM_INTERNAL_ERROR_* of include/uapi/linux/kvm.h. */
const SUBERRORS: Readonly<Record<number, string>> = {
  1: 'an instruction that it cannot emulate',
  2: 'two exceptions at once',
  3: 'an exit while it delivered an event',
  4: 'an exit reason that it does not expect',
};

export const failEntry = (exit: FailEntryExit, { vcpu }: ExplainContext): End => ({
  how: 'fail-entry',
  vcpu,
  message: `The processor refused to enter vCPU ${vcpu}: reason ${hex(exit.hardwareEntryFailureReason)} on CPU ${exit.cpu}`,
  advice: 'The state of the guest is not valid for the processor; of a TD only its module can have made it so',
  exit,
});

export function systemEvent(exit: SystemEventExit, { vcpu }: ExplainContext): End {
  if (exit.type !== TDX_FATAL) {
    const name = SYSTEM_EVENTS[exit.type] ?? `event ${exit.type}`;
    return { how: 'system-event', vcpu, exit, message: `vCPU ${vcpu} asked for a ${name} of the system` };
  }
  const fatal = decodeFatalError(exit.data);
  const page = fatal.gpa === undefined ? '' : `; more is in shared memory at ${hex(fatal.gpa)}`;
  return {
    how: 'fatal-error',
    vcpu,
    fatal,
    exit,
    message: `The guest reported a fatal error: ${fatal.text ? `"${fatal.text}", ` : ''}code ${hex(fatal.code)}${page}`,
    advice: 'The guest gave up by itself (TDG.VP.VMCALL<ReportFatalError>): its text and its console say why',
  };
}

const TDX_FATAL = 7;
/** KVM_SYSTEM_EVENT_* of include/uapi/linux/kvm.h. */
const SYSTEM_EVENTS: Readonly<Record<number, string>> = { 1: 'shutdown', 2: 'reset', 3: 'crash' };

export const unknownExit = (exit: VcpuExit, { vcpu }: ExplainContext): End => ({
  how: 'unknown-exit',
  vcpu,
  exit,
  message:
    exit.reason === 'unknown'
      ? (exit.detail ?? `vCPU ${vcpu} left with exit reason ${exit.exitReason}, which this library does not know`)
      : `vCPU ${vcpu} left with an exit that nothing answers: ${exit.reason}`,
});

/** KVM_RUN itself failed. */
export function runFailed(error: KvmError, { vcpu, td }: ExplainContext): End {
  if (error.code !== 'EIO') {
    return {
      how: 'run-failed',
      vcpu,
      error,
      message: `KVM_RUN of vCPU ${vcpu} failed with ${error.code}: ${error.message}`,
    };
  }
  return {
    how: 'vm-dead',
    vcpu,
    error,
    message: `The VM is dead: KVM_RUN of vCPU ${vcpu} failed with EIO`,
    advice: td
      ? 'Probably the guest touched private memory that it had not accepted: with SEPT_VE_DISABLE that ends a TD (the kernel log says "Guest access before accepting" and where). ' +
        'Pages that the image does not add need TDG.MEM.PAGE.ACCEPT before the first access. Or an earlier request failed in the TDX module'
      : 'KVM has found a bug of its own and ended the VM: the kernel log says where',
  };
}
