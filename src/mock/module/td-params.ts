import type { Host } from '../../cpuid/index.js';

/** One CPUID entry of a TD as TDH.MNG.INIT stores it. */
export interface VirtualCpuid {
  leaf: number;
  /** null: the sub-leaf is not significant. */
  subleaf: number | null;
  /** false: CPUID gives the guest a #VE. */
  valid: boolean;
  eax: number;
  ebx: number;
  ecx: number;
  edx: number;
}

/** What TDH.MNG.INIT writes into the TD's control structure. */
export interface TdConfiguration {
  attributes: bigint;
  xfam: bigint;
  maxVcpus: number;
  numL2Vms: number;
  /** 0: 48 bits of guest physical address, 1: 52. */
  gpaw: 0 | 1;
  /** Lower 12 bits of the EPTP. */
  eptpControls: number;
  configFlags: bigint;
  /** Initial TD_CTLS. */
  tdCtls: bigint;
  /** Units of 25 MHz. */
  tscFrequency: number;
  tscMultiplier: bigint;
  /** TSC ticks. */
  hpLockTimeout: bigint;
  /** Bytes of the XSAVES area for XFAM. */
  xbuffSize: number;
  ia32ArchCapabilities: bigint;
  ia32SpecCtrlMask: bigint;
  /** Virtual physical address width. */
  virtMaxpa: number;
  /** Features that the module notes, by name, in its order. */
  cpuidFlags: readonly string[];
  /** By leaf, then sub-leaf. */
  cpuid: readonly VirtualCpuid[];
  /** Leaves without an entry, or with entries for some sub-leaves, that the host reads as 0. */
  zeroLeaves: ReadonlySet<number>;
  /** The same registers in the order of the rules document, four an entry: what guestCpuid() takes. */
  registers: Uint32Array;
  /** 48 bytes each. */
  mrConfigId: Uint8Array;
  mrOwner: Uint8Array;
  mrOwnerConfig: Uint8Array;
}

/** The configuration that the evaluation left in the scope of `host`. */
export function tdConfigurationOf(host: Host, tdParams: Uint8Array): TdConfiguration {
  const { rules, scope } = host;
  const values = new Map(rules.tdcs.map(({ name, code }) => [name, code.wide(scope)]));
  const value = (name: string): bigint => values.get(name) ?? 0n;
  const blob = (name: string): Uint8Array => {
    const [offset, size] = rules.document.tdParams.blobs[name] ?? [0, 0];
    return tdParams.slice(offset, offset + size);
  };
  return {
    attributes: value('attributes'),
    xfam: value('xfam'),
    maxVcpus: Number(value('max_vcpus')),
    numL2Vms: Number(value('num_l2_vms')),
    gpaw: value('gpaw') === 0n ? 0 : 1,
    eptpControls: Number(value('eptp_controls')),
    configFlags: value('config_flags'),
    tdCtls: value('td_ctls'),
    tscFrequency: Number(value('tsc_frequency')),
    tscMultiplier: value('tsc_multiplier'),
    hpLockTimeout: value('hp_lock_timeout'),
    xbuffSize: Number(value('xbuff_size')),
    ia32ArchCapabilities: value('ia32_arch_capabilities'),
    ia32SpecCtrlMask: value('ia32_spec_ctrl_mask'),
    virtMaxpa: Number(value('virt_maxpa')),
    cpuidFlags: rules.cpuidFlags.filter(({ code }) => code.low(scope) !== 0).map(({ name }) => name),
    cpuid: rules.listed.map((i) => {
      const { leaf, subleaf, faulting } = rules.entries[i]!;
      const [eax = 0, ebx = 0, ecx = 0, edx = 0] = scope.virtual.subarray(i * 4, i * 4 + 4);
      return { leaf, subleaf, valid: !faulting, eax, ebx, ecx, edx };
    }),
    zeroLeaves: new Set(rules.unlisted.flatMap(({ fixed, leaves }) => (fixed ? [...(leaves ?? [])] : []))),
    registers: scope.virtual.slice(),
    mrConfigId: blob('mrconfigid'),
    mrOwner: blob('mrowner'),
    mrOwnerConfig: blob('mrownerconfig'),
  };
}

/**
 * The CPUID value of a TD that metadata (TDH.MNG.RD of CPUID_VALUES) names by leaf and sub-leaf, null for the flag
 * SUBLEAF_NA: an entry without sub-leaves answers to any sub-leaf, one with them only to its own.
 */
export const findVirtualCpuid = (td: TdConfiguration, leaf: number, subleaf: number | null): VirtualCpuid | undefined =>
  td.cpuid.find((row) => row.leaf === leaf && (row.subleaf === null || row.subleaf === subleaf)) ??
  (td.zeroLeaves.has(leaf) ? { leaf, subleaf, valid: true, eax: 0, ebx: 0, ecx: 0, edx: 0 } : undefined);
