import type { CpuidEntry } from './cpuid.js';
import type { ExitReply, VcpuExit } from './exits.js';
import type { GuestMemory } from './memory.js';

/** Argument of KVM_TDX_INIT_MEM_REGION: pages copied from memory of ours into the TD. */
export interface TdxMemRegion {
  source: GuestMemory;
  /** Bytes into `source`, page-aligned. */
  sourceOffset: number;
  /** Guest physical address of the first page, page-aligned, shared bit clear. */
  gpa: bigint;
  /** At least 1. */
  nrPages: number;
  /** KVM_TDX_MEASURE_MEMORY_REGION: extend MRTD with the content, not only with the address. */
  measure: boolean;
  /** Called after each system call with the pages done so far. */
  onProgress?: (pagesDone: number) => void;
}

/** The KVM_MEMORY_ENCRYPT_OP sub-commands of a TD's vCPU descriptor. The kernel never returns `hw_error` for these. */
export interface TdxVcpuOps {
  /** KVM_TDX_INIT_VCPU. @param rcx the value the guest finds in RCX and R8: the value itself, not a pointer. */
  initVcpu(rcx: bigint): void;
  /**
   * KVM_TDX_INIT_MEM_REGION. Resumes where EINTR or EAGAIN left it, a bounded number of times.
   * @throws KvmError with `pagesDone`, the pages that are in the TD when it failed.
   */
  initMemRegion(region: TdxMemRegion): void;
  /** KVM_TDX_GET_CPUID, grown until it fits: the CPUID values the TD has, as far as the host may know them. */
  getCpuid(): CpuidEntry[];
}

/** `struct kvm_regs`. */
export interface KvmRegs {
  rax: bigint;
  rbx: bigint;
  rcx: bigint;
  rdx: bigint;
  rsi: bigint;
  rdi: bigint;
  rsp: bigint;
  rbp: bigint;
  r8: bigint;
  r9: bigint;
  r10: bigint;
  r11: bigint;
  r12: bigint;
  r13: bigint;
  r14: bigint;
  r15: bigint;
  rip: bigint;
  rflags: bigint;
}

/** `struct kvm_segment`. */
export interface KvmSegment {
  base: bigint;
  limit: number;
  selector: number;
  type: number;
  present: number;
  dpl: number;
  db: number;
  s: number;
  l: number;
  g: number;
  avl: number;
  unusable: number;
}

/** `struct kvm_dtable`. */
export interface KvmDtable {
  base: bigint;
  limit: number;
}

/** `struct kvm_sregs`. */
export interface KvmSregs {
  cs: KvmSegment;
  ds: KvmSegment;
  es: KvmSegment;
  fs: KvmSegment;
  gs: KvmSegment;
  ss: KvmSegment;
  tr: KvmSegment;
  ldt: KvmSegment;
  gdt: KvmDtable;
  idt: KvmDtable;
  cr0: bigint;
  cr2: bigint;
  cr3: bigint;
  cr4: bigint;
  cr8: bigint;
  efer: bigint;
  apicBase: bigint;
  interruptBitmap: readonly [bigint, bigint, bigint, bigint];
}

/** `struct kvm_xcr`. */
export interface KvmXcr {
  xcr: number;
  value: bigint;
}

/** `struct kvm_vcpu_events`, without SIPI, SMI and payloads. 0 and 1 stand for false and true. */
export interface KvmVcpuEvents {
  exception: { injected: number; nr: number; hasErrorCode: number; pending: number; errorCode: number };
  interrupt: { injected: number; nr: number; soft: number; shadow: number };
  nmi: { injected: number; pending: number; masked: number };
  flags: number;
}

/** Port accesses that the vCPU's thread answers itself, without crossing to JavaScript. */
export interface PortAnswer {
  /** First and last port of the range, 0 to 0xffff. */
  first: number;
  last: number;
  /** What a read gives, each byte; default 0xff, an empty bus. */
  readByte?: number;
  /**
   * Keep the bytes written for {@link KvmVcpu.takePortOutput}. When 1 MiB waits, the next write is an exit with its own
   * bytes, as if its port were not answered.
   */
  gather?: boolean;
}

export interface RunOptions {
  /** Answer to the exit that the previous run returned, where it wants one. */
  reply?: ExitReply;
  /** Ends the run: the promise rejects with an AbortError. */
  signal?: AbortSignal;
  /** Port ranges answered on the vCPU's thread during this run. */
  ports?: readonly PortAnswer[];
  /**
   * Enters KVM with immediate_exit: what the last exit had begun is completed, nothing further is executed. Ends with an
   * `intr` exit, or with the next exit of the same instruction.
   */
  completeOnly?: boolean;
  /**
   * kvm_run.request_interrupt_window: an `irq-window-open` exit before the first instruction at which the guest takes an
   * external interrupt. Plain VMs without an interrupt controller in the kernel only.
   */
  interruptWindow?: boolean;
}

/** One vCPU descriptor and its thread. */
export interface KvmVcpu extends Disposable {
  /** vcpu_id. */
  readonly id: number;
  readonly closed: boolean;
  /** True from run() until its promise settles; other requests are refused meanwhile (ERR_KVM_VCPU_RUNNING). */
  readonly running: boolean;
  readonly tdx: TdxVcpuOps;

  /** KVM_SET_CPUID2. */
  setCpuid2(entries: readonly CpuidEntry[]): void;
  /** KVM_GET_REGS, plain VMs only. */
  getRegs(): KvmRegs;
  /** KVM_SET_REGS, plain VMs only. */
  setRegs(regs: KvmRegs): void;
  /** KVM_GET_SREGS, plain VMs only. */
  getSregs(): KvmSregs;
  /** KVM_SET_SREGS, plain VMs only. */
  setSregs(sregs: KvmSregs): void;
  /** KVM_GET_XSAVE, plain VMs only: 4096 bytes in the standard form of XSAVE. */
  getXsave(): Uint8Array;
  /** KVM_SET_XSAVE, plain VMs only. Components whose bit of XSTATE_BV (offset 512) is clear become initial. */
  setXsave(xsave: Uint8Array): void;
  /** KVM_GET_XCRS, plain VMs only. */
  getXcrs(): KvmXcr[];
  /** KVM_SET_XCRS, plain VMs only. */
  setXcrs(xcrs: readonly KvmXcr[]): void;
  /** KVM_GET_VCPU_EVENTS, plain VMs only. */
  getVcpuEvents(): KvmVcpuEvents;
  /** KVM_SET_VCPU_EVENTS, plain VMs only. */
  setVcpuEvents(events: KvmVcpuEvents): void;
  /** KVM_RUN on the vCPU's own thread until an exit that `ports` does not answer. */
  run(options?: RunOptions): Promise<VcpuExit>;
  /** Bytes gathered from port writes since the last call, oldest first. */
  takePortOutput(): Uint8Array;
  /** Interrupts a run (it rejects with ERR_KVM_CLOSED), ends the thread and closes the descriptor. Safe to call twice. */
  close(): void;
}
