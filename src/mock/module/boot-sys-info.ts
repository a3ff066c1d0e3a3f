import type { Host } from '../../cpuid/index.js';

/** A CPUID leaf that TD_PARAMS can configure, with the bits that TDH.SYS.RD reports. */
export interface CpuidConfigLeaf {
  leaf: number;
  /** null: the sub-leaf is not significant. */
  subleaf: number | null;
  eax: number;
  ebx: number;
  ecx: number;
  edx: number;
}

/** What the host reads with TDH.SYS.RD. */
export interface SysInfo {
  attributesFixed0: bigint;
  attributesFixed1: bigint;
  xfamFixed0: bigint;
  xfamFixed1: bigint;
  configFlagsFixed0: bigint;
  configFlagsFixed1: bigint;
  tdxFeatures0: bigint;
  /** undefined where the module has no such field. */
  maxVcpusPerTd: number | undefined;
  minVirtMaxpa: number | undefined;
  updateVersion: number;
  archCapabilitiesConfigMask: bigint;
  /** CPUID_CONFIG_LEAVES and CPUID_CONFIG_VALUES by index; TD_PARAMS.CPUID_CONFIG has the same order. */
  cpuidConfig: readonly CpuidConfigLeaf[];
  /** The same with all configurable bits, as TDH.SYS.INFO gives it on every module version. */
  cpuidConfigInfo: readonly CpuidConfigLeaf[];
  /** Global metadata fields that the rules document knows, by field id. */
  fields: ReadonlyMap<bigint, bigint>;
}

/** The module's global metadata on `host`. */
export function sysInfoOf(host: Host): SysInfo {
  const { rules } = host;
  const named = new Map(rules.sysInfo.map(({ name, code }) => [name, code.wide(host.scope)]));
  const field = (name: string): bigint => named.get(name) ?? 0n;
  const optional = (name: string): number | undefined => {
    const value = named.get(name);
    return value === undefined ? undefined : Number(value);
  };
  return {
    attributesFixed0: field('ATTRIBUTES_FIXED0'),
    attributesFixed1: field('ATTRIBUTES_FIXED1'),
    xfamFixed0: field('XFAM_FIXED0'),
    xfamFixed1: field('XFAM_FIXED1'),
    configFlagsFixed0: field('CONFIG_FLAGS_FIXED0'),
    configFlagsFixed1: field('CONFIG_FLAGS_FIXED1'),
    tdxFeatures0: field('TDX_FEATURES0'),
    maxVcpusPerTd: optional('MAX_VCPUS_PER_TD'),
    minVirtMaxpa: optional('MIN_VIRT_MAXPA'),
    updateVersion: Number(field('UPDATE_VERSION')),
    archCapabilitiesConfigMask: field('IA32_ARCH_CAPABILITIES_CONFIG_MASK'),
    cpuidConfig: cpuidConfig(host, rules.document.sysInfo.cpuidConfigBits.includes('allowed')),
    cpuidConfigInfo: cpuidConfig(host, true),
    fields: new Map(rules.sysInfo.map(({ id, name }) => [id, field(name)])),
  };
}

function cpuidConfig(host: Host, withAllowed: boolean): CpuidConfigLeaf[] {
  const found: CpuidConfigLeaf[] = [];
  host.rules.entries.forEach(({ leaf, subleaf, config, configured, allowed }, i) => {
    if (config < 0) return;
    const bits = (r: number): number => {
      const more = withAllowed ? allowed[r]! & host.sampled[i * 4 + r]! : 0;
      return (configured[r]! | more) >>> 0;
    };
    found[config] = { leaf, subleaf, eax: bits(0), ebx: bits(1), ecx: bits(2), edx: bits(3) };
  });
  return found;
}
