/** A CPUID leaf as the TD sees it (TDCS.CPUID_VALUES). All numbers are unsigned 32-bit. */
export interface TdCpuidRow {
  leaf: number;
  /** Null where the leaf has none. */
  subleaf: number | null;
  /** False: CPUID of this leaf gives the guest a #VE. */
  valid: boolean;
  eax: number;
  ebx: number;
  ecx: number;
  edx: number;
}

/** What TDH.MNG.INIT makes of TD_PARAMS (TDCS.EXECUTION_CONTROLS and CPUID_VALUES). */
export interface TdConfiguration {
  attributes: bigint;
  xfam: bigint;
  maxVcpus: number;
  numL2Vms: number;
  configFlags: bigint;
  eptpControls: bigint;
  gpaw: 0 | 1;
  tscFrequency: number;
  tscMultiplier: bigint;
  /** In ticks of the native TSC. */
  hpLockTimeout: bigint;
  xbuffSize: number;
  ia32ArchCapabilities: bigint;
  mrConfigId: Uint8Array;
  mrOwner: Uint8Array;
  mrOwnerConfig: Uint8Array;
  virtualMaxPa: number;
  cpuid: readonly TdCpuidRow[];
}
