/** A rules document as JSON: what rules/*.json hold and schema/rules.schema.json describes. Numbers are hexadecimal strings. */
export interface RulesDocument {
  $schema?: string;
  /** Module version, such as `1.5.06`. */
  module: string;
  /** How the rules are known: computed by the module's published source, read in it, or learnt from a host. */
  known: 'computed' | 'read' | 'learnt';
  source: string;
  /** Bit numbers by name: `attributes.PKS`. */
  names: Record<string, Record<string, number>>;
  /** Family, model and newest stepping of the processors that a migratable TD may name, newest first. */
  fms: string[];
  boot: BootCall[];
  /** Values of the host, calculated once CPUID has been sampled, in this order. */
  host: Record<string, string>;
  sysInfo: SysInfoSection;
  tdParams: TdParamsSection;
  /** What TDH.MNG.INIT does, in order. */
  init: InitStep[];
  /** Fields of the TD's control structure by expression. */
  tdcs: Record<string, string>;
  /** Features that the module notes for a TD, in the module's order. */
  cpuidFlags: Record<string, string>;
  topology?: TopologySection;
  seamcalls?: SeamcallSection;
  guest: GuestSection;
  cpuid: CpuidEntry[];
}

/** One start-up call of the module with what it checks. */
export interface BootCall {
  call: string;
  steps: BootStep[];
}

/** A requirement (with the rulebook entry that states it), or a procedure that has code of its own. */
export type BootStep = Requirement | { do: BootProcedure };
export type BootProcedure = 'sample-cpuid' | 'compare-cpuid' | 'check-cmrs' | 'check-smrrs' | 'configure-tdmrs';

export interface Requirement {
  rule: string;
  require: string;
  /** Lower half of the status: an MSR, a CPUID leaf, a limit. */
  details?: string;
  /** RCX on failure: `leaf` is leaf | sub-leaf << 32 of the entry; left out, 0. */
  rcx?: 'leaf';
}

export interface SysInfoSection {
  /** Global metadata by name: its field id and its value. */
  fields: Record<string, { id: string; value: string }>;
  /** Which bits TDH.SYS.RD gives in CPUID_CONFIG_VALUES; `allowed` ones only where the processor has them. */
  cpuidConfigBits: ('configured' | 'allowed')[];
}

export interface TdParamsSection {
  /** [offset, size] in bytes. */
  fields: Record<string, [number, number]>;
  /** Fields that are copied and never checked. */
  blobs: Record<string, [number, number]>;
  /** Offset of CPUID_CONFIG[0]. */
  cpuidConfig: number;
}

export type InitStep = Requirement | { do: 'cpuid' | 'topology' };

export interface TopologySection {
  /** Sub-leaves 0 up to this of CPUID(0x1F). */
  subleaves: number;
  /** ECX[7:0] of a used sub-leaf must be its number, and SMT is a level of sub-leaf 0 only. */
  strict: boolean;
  /** CPUID(0xB) is derived at every sub-leaf (the last one visited wins), or once from the last used one. */
  derive: 'every-sub-leaf' | 'last-level';
  /** With `last-level`: ECX[7:0] of an unused sub-leaf of CPUID(0xB) is its number; otherwise 0. */
  numbered?: boolean;
}

/** What SEAMCALLs do that neither TDX_FEATURES0 nor the other sections tell. */
export interface SeamcallSection {
  /** A vCPU that TDH.VP.INIT refuses for its x2APIC id stays counted in NUM_VCPUS. */
  refusedVcpusCount?: boolean;
  /** The operand that TDH.MEM.RANGE.UNBLOCK names in TDX_TLB_TRACKING_NOT_DONE; default RCX. */
  unblockOperand?: 'SEPT_TREE' | 'RCX';
  /** TDH.MNG.RD of CPUID_VALUES without an entry: the id is incorrect, or the field is not readable. */
  unlistedCpuid?: 'id-incorrect' | 'not-readable';
}

/** CPUID executed by the guest. Leaves beyond the last one of either range are answered as the last base leaf. */
export interface GuestSection {
  lastLeaf: string;
  /** An expression. */
  lastExtendedLeaf: string;
  /** (Leaf, sub-leaf) pairs without an entry; the first that has the leaf counts. One that none has gives a #VE. */
  unlisted?: UnlistedCpuid[];
  /** Fields of the TD that its guest writes with TDG.VM.WR and that its CPUID depends on, by name. */
  fields?: Record<string, GuestField>;
}

export interface UnlistedCpuid {
  /** Left out: any leaf. */
  leaves?: string[];
  /** The host reads 0 for these leaves (TDH.MNG.RD), with and without a sub-leaf, where there is no entry. */
  fixed?: boolean;
  /** CPUID gives the guest a #VE while this holds; left out, never. */
  ve?: string;
  /** Values as expressions, in which `subleaf` is ECX; a register left out is 0. */
  registers?: Registers;
}

export interface GuestField {
  /** Field id. */
  id: string;
  /** Bits that a guest may write. */
  writable: string;
  /** What TDG.VM.WR requires of `written`, the new value. */
  checks?: Requirement[];
  /** What is stored where it is not just `written`. */
  stored?: string;
}

/** EAX, EBX, ECX, EDX; left out, 0. */
export interface Registers {
  eax?: string;
  ebx?: string;
  ecx?: string;
  edx?: string;
}

/** One entry of the module's CPUID table. Bits in none of the masks are native. */
export interface CpuidEntry {
  leaf: string;
  /** Left out: the sub-leaf is not significant. */
  subleaf?: string;
  /** Position in the module's table, which is the order of evaluation. */
  index: number;
  /** Index in TD_PARAMS.CPUID_CONFIG. */
  config?: number;
  /** CPUID gives the guest a #VE. */
  faulting?: boolean;
  /** TDH.SYS.INIT: the processor must have `mask=value`. */
  verify?: Registers;
  /** TDH.SYS.LP.INIT: these bits are equal on all logical processors. */
  same?: Registers;
  /** Sampled as zeros, once the requirements are checked, unless this holds. */
  present?: string;
  /** 0, or calculated. */
  zero?: Registers;
  one?: Registers;
  /** As TD_PARAMS.CPUID_CONFIG says. */
  configured?: Registers;
  /** As TD_PARAMS.CPUID_CONFIG says, where the processor has it. */
  allowed?: Registers;
  /** XFAM bits (`5 6 7`) to bits that are 0 unless all of them are set. */
  xfam?: Record<string, Registers>;
  /** The whole entry is 0 unless this holds. */
  only?: string;
  /** Fields that are calculated: `eax[15:8]`. */
  set?: Record<string, string>;
  /** What TDH.SYS.INIT requires of the native values. */
  boot?: Requirement[];
  /** What TDH.MNG.INIT requires of the result. */
  checks?: Requirement[];
  /** CPUID gives the guest a #VE while this holds. */
  ve?: string;
  /** Fields that are calculated when the guest executes CPUID. */
  guest?: Record<string, string>;
}
