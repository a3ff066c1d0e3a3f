// The interface between the kernel storey and the module storey: SEAMCALLs, as registers.

/** Leaf numbers of the host-side interface functions. */
export const TDH = {
  VP_ENTER: 0,
  MNG_ADDCX: 1,
  MEM_PAGE_ADD: 2,
  MEM_SEPT_ADD: 3,
  VP_ADDCX: 4,
  MEM_PAGE_RELOCATE: 5,
  MEM_PAGE_AUG: 6,
  MEM_RANGE_BLOCK: 7,
  MNG_KEY_CONFIG: 8,
  MNG_CREATE: 9,
  VP_CREATE: 10,
  MNG_RD: 11,
  MEM_RD: 12,
  MNG_WR: 13,
  MEM_WR: 14,
  MEM_PAGE_DEMOTE: 15,
  MR_EXTEND: 16,
  MR_FINALIZE: 17,
  VP_FLUSH: 18,
  MNG_VPFLUSHDONE: 19,
  MNG_KEY_FREEID: 20,
  MNG_INIT: 21,
  VP_INIT: 22,
  MEM_PAGE_PROMOTE: 23,
  PHYMEM_PAGE_RDMD: 24,
  MEM_SEPT_RD: 25,
  VP_RD: 26,
  MNG_KEY_RECLAIMID: 27,
  PHYMEM_PAGE_RECLAIM: 28,
  MEM_PAGE_REMOVE: 29,
  MEM_SEPT_REMOVE: 30,
  SYS_KEY_CONFIG: 31,
  SYS_INFO: 32,
  SYS_INIT: 33,
  SYS_RD: 34,
  SYS_LP_INIT: 35,
  SYS_TDMR_INIT: 36,
  SYS_RDALL: 37,
  MEM_TRACK: 38,
  MEM_RANGE_UNBLOCK: 39,
  PHYMEM_CACHE_WB: 40,
  PHYMEM_PAGE_WBINVD: 41,
  VP_WR: 43,
  SYS_LP_SHUTDOWN: 44,
  SYS_CONFIG: 45,
} as const;

/** Input registers of a SEAMCALL; those left out are 0. */
export interface SeamcallArgs {
  /** Leaf version, RAX[23:16]. */
  version?: number;
  rcx?: bigint;
  rdx?: bigint;
  r8?: bigint;
  r9?: bigint;
  r10?: bigint;
  r11?: bigint;
  /** Package of the logical processor that makes the call, 0 by default. */
  package?: number;
}

/** Output registers of a SEAMCALL. A register that the leaf does not write keeps its input value, as on a processor. */
export interface SeamcallResult {
  /** RAX: the status. */
  status: bigint;
  rcx: bigint;
  rdx: bigint;
  r8: bigint;
  r9: bigint;
  r10: bigint;
  r11: bigint;
  /** The rulebook entry that refused the call, where one did. */
  rule?: string;
}

/** Physical memory of the modelled host, in pages of 4096 bytes, addressed without KeyID bits. */
export interface HostMemory {
  /** The page at a page-aligned address; all-zero pages are made when first touched. */
  page(pa: bigint): Uint8Array;
}

/** Input registers of TDH.VP.ENTER: RCX the handle, the others what a completed TDG.VP.VMCALL gives the guest. */
export interface VpEnterArgs extends SeamcallArgs {
  rbx?: bigint;
  /** Only for TDs without CONFIG_FLAGS.NO_RBP_MOD, which KVM does not make. */
  rbp?: bigint;
  rsi?: bigint;
  rdi?: bigint;
  r12?: bigint;
  r13?: bigint;
  r14?: bigint;
  r15?: bigint;
}

/** Output registers of TDH.VP.ENTER. `status` has the VMX exit reason in its lower half when the TD was entered. */
export interface VpEnterResult extends SeamcallResult {
  rbx: bigint;
  rsi: bigint;
  rdi: bigint;
  r12: bigint;
  r13: bigint;
  r14: bigint;
  r15: bigint;
  /** As the guest exposed it, or 0; missing for TDs with CONFIG_FLAGS.NO_RBP_MOD. */
  rbp?: bigint;
  /**
   * Of the model only: the engine could not go on, and no real TD would have left here. The VCPU cannot be entered again.
   */
  stuck?: { why: string; rip: bigint; bytes: Uint8Array };
}

/** The posted-interrupt descriptor of a VCPU, as its processor sees it. */
export interface PostedInterrupts {
  /** ON: something was posted since take(). */
  readonly outstanding: boolean;
  /** Empties PIR. */
  take(): Iterable<number>;
}

/** What the host's side of an entered VCPU gives: interrupts, and the memory behind the shared EPT. */
export interface EnterHost {
  /**
   * Aborted when something comes from outside. If another, not aborted signal is in its place then, that was the notification
   * vector, and the VCPU stays inside; if not the host wants the processor back, and the VCPU leaves with an external
   * interrupt (exit reason 1).
   */
  readonly signal: AbortSignal;
  /** Left out: nobody posts interrupts. */
  readonly posted?: PostedInterrupts;
  /** Bytes of shared memory at a GPA without its SHARED bit, within one page; undefined where no memory is. */
  readShared(gpa: number, length: number): Uint8Array | undefined;
  /** False where no memory is. */
  writeShared(gpa: number, bytes: Uint8Array): boolean;
  /**
   * Of a GPA without its SHARED bit that has no memory: true where the shared EPT turns accesses into #VE, false where it
   * has no entry, so that the VCPU leaves with an EPT violation. Left out: always true.
   */
  isMmio?(gpa: number): boolean;
}

/** A TDX module that has been initialised on its platform and takes SEAMCALLs. */
export interface Seam {
  /** Every leaf but TDH.VP.ENTER. */
  call(leaf: number, args: SeamcallArgs): SeamcallResult;
  /** TDH.VP.ENTER: runs the guest until the VCPU leaves. */
  vpEnter(args: VpEnterArgs, host: EnterHost): Promise<VpEnterResult>;
  /** An interrupt for the processor that runs this VCPU: if it is inside, it leaves and is entered again at once. */
  kick(tdvpr: bigint): void;
}
