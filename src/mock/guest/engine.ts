// The interface between the module storey and the guest storey: what executes a TD's instructions. An engine knows
// processors, not TDX: whatever TDX answers, it hands up as an event and goes on from the registers it is given back.
// Guest physical addresses (GPAs) are numbers in bytes, as the guest's page tables have them: with the SHARED bit.

export type Access = 'read' | 'write' | 'execute';

/** Instructions that a TDX module handles itself or turns into #VE or #GP. IN, OUT and their string forms are `io`. */
export type TrappedInstruction =
  | 'cpuid'
  | 'hlt'
  | 'rdmsr'
  | 'wrmsr'
  | 'xsetbv'
  | 'invd'
  | 'wbinvd'
  | 'monitor'
  | 'mwait'
  | 'rdpmc'
  | 'vmcall';

/** Why a vCPU stopped executing. RIP is at the instruction and no register has changed, unless said otherwise. */
export type GuestEvent =
  /** TDCALL, at any privilege level and in any mode. `length` bytes long. */
  | { kind: 'tdcall'; length: number }
  | { kind: 'instruction'; name: TrappedInstruction; length: number }
  | {
      kind: 'io';
      length: number;
      port: number;
      size: 1 | 2 | 4;
      write: boolean;
      string: boolean;
      rep: boolean;
      immediate: boolean;
    }
  /** A private page that is not mapped for the guest, or a shared address without memory. */
  | {
      kind: 'ept-violation';
      gpa: number;
      gla: bigint;
      access: Access;
      length: number;
      /**
       * The exception whose delivery through the IDT made the access, for engines that do not keep it: the module injects
       * it again, or another in its place.
       */
      delivering?: { vector: number; errorCode?: number };
    }
  | { kind: 'triple-fault' }
  /** `interruptWindow` is set, and an external interrupt can be delivered now. */
  | { kind: 'interrupt-window' }
  /** The signal of run() was aborted. */
  | { kind: 'interrupted' }
  /** The engine cannot go on. `bytes` are those at RIP, `why` says what it lacks, with the disassembly. */
  | { kind: 'stuck'; why: string; rip: bigint; bytes: Uint8Array };

/** What the module sees of a private 4 KiB page. `zero`: nothing but zeros so far; `bytes` would make the page. */
export type PrivatePage =
  | { state: 'mapped'; readonly zero?: boolean; readonly bytes: Uint8Array }
  | { state: 'pending' | 'blocked' | 'absent' };

/** Memory of the TD as the engine asks for it. */
export interface GuestSpace {
  /** 2^47 or 2^51: the bit of a GPA that selects shared memory. */
  readonly sharedBit: number;
  /**
   * The private page that holds `gpa`. `bytes` are live: the page itself, until `pagesUnmapped`. An engine with memory of
   * its own copies from them when the page becomes mapped.
   */
  privatePage(gpa: number): PrivatePage;
  /** Reads shared memory of the host; undefined where there is none. `gpa` without the SHARED bit. Within one page. */
  readShared(gpa: number, length: number): Uint8Array | undefined;
  /** Writes shared memory; false where there is none. Within one page. */
  writeShared(gpa: number, bytes: Uint8Array): boolean;
  /** CPUID values that the module gives, for engines whose processor answers CPUID without an event; undefined: #VE. */
  cpuid(vcpu: EngineVcpu, leaf: number, subleaf: number): readonly [number, number, number, number] | undefined;
  /** The guest's time-stamp counter, for engines that have none of their own. */
  tsc?(): bigint;
}

/** A TD in an engine. */
export interface EngineTd {
  /** @param start registers of a TD's first instruction: see {@link INITIAL_STATE}; gprs in the order of encodings. */
  createVcpu(index: number, gprs: BigUint64Array): EngineVcpu;
  /** Bytes of mapped private memory as the guest has them now. Within one page. */
  readPrivate(gpa: number, length: number): Uint8Array;
  writePrivate(gpa: number, bytes: Uint8Array): void;
  /**
   * [gpa, gpa + size) became mapped, or was before the TD was opened: take its content anew. An engine may have to show
   * pages to a processor before anything touches them.
   */
  pagesMapped(gpa: number, size: number): void;
  /** [gpa, gpa + size) is no longer mapped, from now on for every vCPU. Its content is lost. */
  pagesUnmapped(gpa: number, size: number): void;
  close(): void;
}

/** A vCPU in an engine. Registers are valid while it does not run, and may be changed then. */
export interface EngineVcpu {
  /** RAX RCX RDX RBX RSP RBP RSI RDI R8 ... R15. */
  readonly gprs: BigUint64Array;
  rip: bigint;
  rflags: bigint;
  readonly mode: ProcessorMode;
  /** What inject() was given waits for the next run. */
  readonly injecting: boolean;
  /**
   * An external interrupt, given to inject(), would be delivered at once: RFLAGS.IF is set, the instruction before was no
   * STI that set it and no load of SS, and nothing else is injected. While it does not run.
   */
  readonly interruptible: boolean;
  /** Set: run() ends with `interrupt-window` as soon as the vCPU is interruptible, before another instruction. */
  interruptWindow: boolean;
  /** Runs until something happens. Never rejects for what the guest does, and lets the event loop turn now and then. */
  run(signal: AbortSignal): Promise<GuestEvent>;
  /**
   * The next run begins with this exception, or external interrupt, at RIP, through the guest's IDT; the last one of
   * several counts. `cr2` with #PF.
   */
  inject(vector: number, errorCode?: number, cr2?: bigint): void;
  close(): void;
}

/** State of the processor that the module's answers depend on. */
export interface ProcessorMode {
  readonly cpl: number;
  /** EFER.LMA and CS.L. */
  readonly longMode: boolean;
  readonly cr0: bigint;
  readonly cr3: bigint;
  readonly cr4: bigint;
  /** The module may change SCE (WRMSR). */
  efer: bigint;
  /** XCR0; the module may change it (XSETBV). */
  xcr0: bigint;
}

/** What executes guests on this machine. */
export interface GuestEngine {
  readonly name: 'kvm' | 'interpreter';
  /** For outputs: which engine, why this one, how it sees TDCALL. */
  readonly description: string;
  openTd(space: GuestSpace): EngineTd;
  /** Safe to call twice. */
  close(): void;
}
