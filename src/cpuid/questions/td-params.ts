import type { CpuidEntry } from '../../kvm/cpuid.js';
import { entryAt, GPAW_MASK } from '../../td/cpuid-entries.js';
import type { TdHostFacts } from '../../td/host-facts.js';
import { type ResolvedTd, resolveTd } from '../../td/resolve.js';
import type { TdConfig } from '../../td/schema.js';
import { TSC_UNIT_KHZ } from '../../td/tsc.js';
import { REGISTERS } from '../expression/ast.js';
import { type Bits, isKnown, known, most, UNKNOWN, xor, ZERO } from '../partial/bits.js';
import type { PartialParams } from '../partial/evaluate.js';
import type { PartialHost } from '../partial/host.js';
import type { CompiledRules } from '../rules.js';
import type { CpuidHost } from './host.js';

// What KVM writes into TD_PARAMS (setup_tdparams, Linux 6.16).
const EPTP_WB = 6n;
const EPTP_LEVELS = { 48: 3n << 3n, 52: 4n << 3n } as const;
const CONFIG_FLAGS_GPAW = 1n;
const CONFIG_FLAGS_NO_RBP_MOD = 4n;
const TDCX_PAGES = 6n;

const register = (value: Bits): number => Number(value.value & 0xffff_ffffn);

/**
 * Facts of a host of which no kernel is known: the least or the most that it may offer. Where the processor is known, that
 * is what the module offers on it, without a kernel between; else a kernel may offer anything less.
 */
function deducedFacts(partial: PartialHost, side: 'least' | 'most'): TdHostFacts {
  const least = (value: Bits): Bits => (partial.exact ? known(value.value) : ZERO);
  const extreme = (value: Bits): Bits => (side === 'most' ? known(most(value)) : least(value));
  const offered = (name: string): bigint => extreme(partial.values.get(name) ?? UNKNOWN).value;
  const entries = (values: (i: number, r: number) => number): CpuidEntry[] =>
    partial.rules.entries.flatMap(({ leaf, subleaf, config }, i) => {
      if (config < 0) return [];
      const [eax, ebx, ecx, edx] = [0, 1, 2, 3].map((r) => values(i, r)) as [number, number, number, number];
      return [{ function: leaf, index: subleaf ?? 0, flags: subleaf === null ? 0 : 1, eax, ebx, ecx, edx }];
    });
  const mask = (i: number, r: number): number => {
    const { leaf, configured, allowed } = partial.rules.entries[i]!;
    const bits = (configured[r]! | (allowed[r]! & register(extreme(partial.native[i * 4 + r]!)))) >>> 0;
    return leaf === 0x8000_0008 && r === 0 ? (bits | GPAW_MASK) >>> 0 : bits;
  };
  const tsc = partial.values.get('TSC_HZ');
  return {
    capabilities: {
      supportedAttrs: offered('ATTRIBUTES_FIXED0'),
      supportedXfam: offered('XFAM_FIXED0'),
      kernelTdvmcallinfo1R11: 0n,
      userTdvmcallinfo1R11: 0n,
      kernelTdvmcallinfo1R12: 0n,
      userTdvmcallinfo1R12: 0n,
      cpuid: entries(mask),
    },
    supportedCpuid: entries((i, r) => register(extreme(partial.native[i * 4 + r]!))),
    maxVcpus: 1,
    systemMaxVcpus: 1,
    maxVcpusSettable: true,
    tscKhz: tsc && isKnown(tsc) ? Number(tsc.value / 1000n) : 0,
    fiveLevelEpt: undefined,
  };
}

/** A configuration on a host: what KVM would make of it, with bits that depend on what is not known left open. */
export interface AskedTd {
  /** Resolved on the host; where KVM's facts are not known, on the least that it may offer. */
  readonly resolved: ResolvedTd;
  readonly facts: TdHostFacts;
  readonly params: PartialParams;
}

/** Bits that are the same whatever the host offers. */
const agreed = (a: bigint, b: bigint): Bits => {
  const { value } = xor(known(a), known(b));
  return { value: a & ~value, unknown: value, guest: 0n };
};

function fieldsOf(host: CpuidHost, least: ResolvedTd, largest: ResolvedTd, facts: TdHostFacts): Map<string, Bits> {
  const { gpaw, tscKhz } = least;
  const vcpus = least.maxVcpus ?? (host.facts ? facts.maxVcpus : least.vcpus);
  return new Map<string, Bits>([
    ['attributes', agreed(least.attributes, largest.attributes)],
    ['xfam', agreed(least.xfam, largest.xfam)],
    ['max_vcpus', known(BigInt(vcpus))],
    ['num_l2_vms', ZERO],
    ['msr_config_ctls', ZERO],
    ['eptp_controls', known(EPTP_WB | EPTP_LEVELS[gpaw])],
    ['config_flags', known(CONFIG_FLAGS_NO_RBP_MOD | (gpaw === 52 ? CONFIG_FLAGS_GPAW : 0n))],
    ['tsc_frequency', tscKhz === 0 ? UNKNOWN : known(BigInt(Math.floor(tscKhz / TSC_UNIT_KHZ)))],
    ['ia32_arch_capabilities_config', ZERO],
    ['tdcx_pages', known(TDCX_PAGES)],
  ]);
}

/** CPUID_CONFIG of the module: KVM uses the guest physical address width up and hands over zeros. */
function configOf(rules: CompiledRules, least: readonly CpuidEntry[], largest: readonly CpuidEntry[]): Bits[] {
  return rules.entries.flatMap(({ leaf, subleaf, config }) =>
    REGISTERS.map((name) => {
      if (config < 0) return ZERO;
      const value = (entries: readonly CpuidEntry[]): bigint => {
        const found = entryAt(entries, leaf, subleaf ?? 0)?.[name] ?? 0;
        return BigInt((leaf === 0x8000_0008 && name === 'eax' ? found & ~GPAW_MASK : found) >>> 0);
      };
      return agreed(value(least), value(largest));
    }),
  );
}

/** What KVM_TDX_INIT_VM would hand to the module for `config`. */
export function askTd(host: CpuidHost, partial: PartialHost, config: TdConfig): AskedTd {
  const facts = host.facts ?? deducedFacts(partial, 'least');
  const resolved = resolveTd(config, facts);
  const largest = host.facts ? resolved : resolveTd(config, deducedFacts(partial, 'most'));
  const fields = fieldsOf(host, resolved, largest, facts);
  for (const { name } of partial.rules.fields) if (!fields.has(name)) fields.set(name, UNKNOWN);
  return { resolved, facts, params: { fields, config: configOf(partial.rules, resolved.cpuid, largest.cpuid) } };
}
