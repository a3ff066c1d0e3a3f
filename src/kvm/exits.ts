// Exits of KVM_RUN, decoded. Field names follow struct kvm_run.

export interface IoExit {
  reason: 'io';
  direction: 'in' | 'out';
  /** Bytes per access: 1, 2 or 4. */
  size: number;
  port: number;
  /** Accesses, more than 1 for string instructions. */
  count: number;
  /** Written bytes (size * count) for `out`, empty for `in`. */
  data: Uint8Array;
}

export interface MmioExit {
  reason: 'mmio';
  gpa: bigint;
  isWrite: boolean;
  /** Written bytes; for a read zeros of the length that is wanted. */
  data: Uint8Array;
}

export interface HltExit {
  reason: 'hlt';
}

/** A triple fault. */
export interface ShutdownExit {
  reason: 'shutdown';
}

export interface HypercallExit {
  reason: 'hypercall';
  /** 12 is KVM_HC_MAP_GPA_RANGE: args are gpa, number of 4 KiB pages, attributes. */
  nr: bigint;
  args: readonly bigint[];
  flags: bigint;
}

/** KVM_RUN failed with EFAULT (or EHWPOISON) and says which memory was at fault. */
export interface MemoryFaultExit {
  reason: 'memory-fault';
  isPrivate: boolean;
  flags: bigint;
  gpa: bigint;
  size: bigint;
}

export interface SystemEventExit {
  reason: 'system-event';
  /** 1 shutdown, 2 reset, 3 crash, 7 TDX fatal error. */
  type: number;
  data: readonly bigint[];
}

/** KVM_EXIT_TDX: a TDG.VP.VMCALL that user space answers. */
export type TdxExit = { reason: 'tdx'; nr: bigint; flags: bigint } & (
  | { call: 'get-quote'; gpa: bigint; size: bigint }
  | { call: 'get-td-vm-call-info'; leaf: bigint }
  | { call: 'setup-event-notify-interrupt'; vector: bigint }
  | { call: 'unknown' }
);

/** RDMSR of an MSR that KVM leaves to user space (KVM_CAP_X86_USER_SPACE_MSR). */
export interface RdmsrExit {
  reason: 'x86-rdmsr';
  index: number;
  /** KVM_MSR_EXIT_REASON_*: 1 KVM refused the value, 2 KVM does not know it, 4 the filter. */
  why: number;
}

/** WRMSR of an MSR that KVM leaves to user space. */
export interface WrmsrExit {
  reason: 'x86-wrmsr';
  index: number;
  why: number;
  data: bigint;
}

export interface InternalErrorExit {
  reason: 'internal-error';
  /** 1 emulation failed, 4 unexpected exit reason, ... */
  suberror: number;
  data: readonly bigint[];
  /** Said by the model when what executes its guests cannot go on. */
  detail?: string;
}

export interface FailEntryExit {
  reason: 'fail-entry';
  hardwareEntryFailureReason: bigint;
  cpu: number;
}

/** The guest takes external interrupts now; only if it was asked for. */
export interface IrqWindowOpenExit {
  reason: 'irq-window-open';
}

/** KVM_RUN returned because of a signal that was not ours. */
export interface IntrExit {
  reason: 'intr';
}

/** An exit_reason that this library does not decode. */
export interface UnknownExit {
  reason: 'unknown';
  exitReason: number;
  /** Said by the model when it cannot execute a guest. */
  detail?: string;
}

export type VcpuExit =
  | IoExit
  | MmioExit
  | HltExit
  | ShutdownExit
  | HypercallExit
  | MemoryFaultExit
  | SystemEventExit
  | TdxExit
  | RdmsrExit
  | WrmsrExit
  | InternalErrorExit
  | FailEntryExit
  | IrqWindowOpenExit
  | IntrExit
  | UnknownExit;

/** What the next KVM_RUN hands back to the guest. */
export interface ExitReply {
  /** Bytes read, for an `in` of IO or a read of MMIO; must have the length the exit asked for. */
  data?: Uint8Array;
  /** `ret` of a hypercall or of a KVM_EXIT_TDX call. */
  ret?: bigint;
  /** R11 to R14 of GetTdVmCallInfo. */
  tdVmCallInfo?: { r11: bigint; r12: bigint; r13: bigint; r14: bigint };
  /** Of an access to an MSR: the value read, or that it is a #GP, which it also is without a reply. */
  msr?: { error: boolean; data?: bigint };
}
