// What native/node exports. Only this folder sees these: numbers, bigints and bytes, no objects of the seam.

export interface GuestMemoryHandle {
  read(offset: number, into: Uint8Array): void;
  write(offset: number, bytes: Uint8Array): void;
  discard(offset: number, length: number): void;
  close(): void;
  isClosed(): boolean;
}

export interface GuestMemfdHandle {
  punchHole(offset: number, length: number): void;
  close(): void;
  isClosed(): boolean;
}

export type HowRunEnded = 'exit' | 'interrupted' | 'closed' | 'failed';

export interface VcpuHandle {
  /** Seven numbers an entry. */
  setCpuid2(entries: Uint32Array): void;
  getRegs(): BigUint64Array;
  setRegs(regs: BigUint64Array): void;
  getSregs(): BigUint64Array;
  setSregs(sregs: BigUint64Array): void;
  /** The bytes of struct kvm_xsave, kvm_xcrs, kvm_vcpu_events. */
  getXsave(): Uint8Array;
  setXsave(xsave: Uint8Array): void;
  getXcrs(): Uint8Array;
  setXcrs(xcrs: Uint8Array): void;
  getVcpuEvents(): Uint8Array;
  setVcpuEvents(events: Uint8Array): void;
  tdxInitVcpu(rcx: bigint): void;
  tdxInitMemRegion(
    source: GuestMemoryHandle,
    sourceOffset: number,
    gpa: bigint,
    nrPages: number,
    measure: boolean,
  ): void;
  tdxGetCpuid(): Uint32Array;
  /** `settle` is called once, later: with the exit, or with the errno of a failed run. */
  run(
    data: Uint8Array | null,
    ret: bigint | null,
    tdVmCallInfo: BigUint64Array | null,
    /** Four numbers a range: first, last, byte that a read gives, 1 to gather. */
    ports: Uint32Array,
    settle: (how: HowRunEnded, exitOrErrno?: unknown) => void,
    /** Error and data. */
    msr: BigUint64Array | null,
    /** False: with immediate_exit. */
    enter: boolean,
    interruptWindow: boolean,
  ): void;
  interrupt(): void;
  takePortOutput(): Uint8Array;
  close(): void;
  isClosed(): boolean;
}

export interface VmHandle {
  /** For vmCheckExtension. */
  serial(): number;
  enableCap(capability: number, flags: number, args: BigUint64Array): void;
  createVcpu(id: number): VcpuHandle;
  setTscKhz(khz: number): void;
  getTscKhz(): number;
  setUserMemoryRegion(
    slot: number,
    flags: number,
    gpa: bigint,
    size: number,
    memory: GuestMemoryHandle | null,
    memoryOffset: number,
  ): void;
  setUserMemoryRegion2(
    slot: number,
    flags: number,
    gpa: bigint,
    size: number,
    memory: GuestMemoryHandle | null,
    memoryOffset: number,
    guestMemfd: GuestMemfdHandle | null,
    guestMemfdOffset: number,
  ): void;
  createGuestMemfd(size: number, flags: bigint): GuestMemfdHandle;
  setMemoryAttributes(gpa: bigint, size: bigint, attributes: bigint): void;
  setTssAddr(gpa: number): void;
  setIdentityMapAddr(gpa: bigint): void;
  /** Three numbers a range: flags, base, MSRs. */
  setMsrFilter(flags: number, ranges: Uint32Array, bitmaps: Uint8Array): void;
  /** `fixed`: the six u64 of struct kvm_tdx_capabilities before its reserved ones. */
  tdxCapabilities(): { fixed: BigUint64Array; cpuid: Uint32Array };
  /** `measurement`: mrconfigid, mrowner, mrownerconfig, 48 bytes each. */
  tdxInitVm(attributes: bigint, xfam: bigint, measurement: Uint8Array, cpuid: Uint32Array): void;
  tdxFinalizeVm(): void;
  tdxTerminateVm(): boolean;
  close(): void;
  isClosed(): boolean;
}

export interface SystemHandle {
  /** For systemCheckExtension. */
  serial(): number;
  getApiVersion(): number;
  getVcpuMmapSize(): number;
  getSupportedCpuid(): Uint32Array;
  createVm(type: number): VmHandle;
  createMemory(size: number): GuestMemoryHandle;
  close(): void;
  isClosed(): boolean;
}

/** How the addon builds the errors of a refused system call. */
export type BuildSysError = (
  errno: number,
  syscall: string,
  request: string,
  hwError: bigint,
  pagesDone: number | undefined,
  path: string | undefined,
) => Error;

export type BuildStateError = (code: string, message: string) => Error;

export interface Addon {
  /** Once per environment, before anything else. */
  setUp(buildSysError: BuildSysError, buildStateError: BuildStateError, onUnclosed: (kind: string) => void): void;
  openSystem(path: string): SystemHandle;
  /** The one request that is worth a shorter way than a method of a handle. */
  systemCheckExtension(serial: number, capability: number): number;
  vmCheckExtension(serial: number, capability: number): number;
  /** eax, ebx, ecx, edx. */
  cpuid(leaf: number, subleaf: number): [number, number, number, number];
}
