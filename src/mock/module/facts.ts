/** A range of physical addresses, in bytes. */
export interface PhysicalRange {
  readonly base: number;
  readonly size: number;
}

/** A Trust Domain Memory Region: what the host gave to the module. */
export interface Tdmr extends PhysicalRange {
  /** Holes that the module must not use, offsets relative to the region. */
  readonly reserved?: readonly PhysicalRange[];
}

/** What the SEAMCALL leaves need to know of the initialised module and its platform. */
export interface ModuleFacts {
  /** First bit of the KeyID in a physical address. */
  readonly hkidStartBit: number;
  /** All bits of the KeyID: the top of 52 bits up to 1.5.05, the top of the native MAXPA since. */
  readonly hkidMask: bigint;
  readonly privateHkidMin: number;
  readonly privateHkidMax: number;
  /** KeyID of the module's own structures. */
  readonly globalHkid: number;
  /** Sorted, not overlapping. */
  readonly tdmrs: readonly Tdmr[];
  readonly seamrr: PhysicalRange;
  readonly packages: number;
  /** CPUID(1).EAX as the module sampled it, the initial RDX of every VCPU. */
  readonly platformFms: number;
  readonly nativeTscFrequency: number;
  /** Entries of the module's CPUID table by lookup index; undefined where an index is not used. */
  readonly cpuidLookup: readonly ({ readonly leaf: number; readonly subleaf: number | null } | undefined)[];
  /** IA32_PERF_METRICS exists: IA32_PERF_CAPABILITIES[15]. */
  readonly perfMetrics: boolean;
  readonly features: ModuleFeatures;
}

/** Differences between module versions that the leaves below MNG.INIT know. */
export interface ModuleFeatures {
  /** Highest version of TDH.VP.INIT: 1 takes an x2APIC id in R8 (TDX_FEATURES0.TOPOLOGY_ENUM). */
  readonly vpInitVersion: 0 | 1;
  /** TDCS has VIRT_MAXPA, and it limits private GPAs (TDX_FEATURES0.MAXPA_VIRT). */
  readonly virtualMaxPa: boolean;
  /** TDCS has what a guest that reduces #VEs needs (TDX_FEATURES0.VE_REDUCTION). */
  readonly veReduction: boolean;
  /** A VCPU that TDH.VP.INIT refuses for its x2APIC id stays counted in NUM_VCPUS. */
  readonly refusedVcpusCount: boolean;
  /** CPUID_VALUES of a leaf or sub-leaf without an entry is a field, if not a readable one. */
  readonly unlistedCpuidReadable: boolean;
  /** The operand that TDH.MEM.RANGE.UNBLOCK names in TDX_TLB_TRACKING_NOT_DONE: SEPT_TREE in 1.5.01 only. */
  readonly unblockOperand: 'SEPT_TREE' | 'RCX';
}
