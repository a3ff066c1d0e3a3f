import type { Platform } from '../platform.js';
import type { ModuleBoot } from './boot.js';
import type { ModuleFacts, ModuleFeatures, PhysicalRange } from './facts.js';

const MSR_PERF_CAPABILITIES = 0x345;
const PERF_METRICS_AVAILABLE = 1n << 15n;
const MSR_SEAMRR_BASE = 0x1400;
const MSR_SEAMRR_MASK = 0x1401;
// IA32_SEAMRR_BASE_AND_MASK_MASK: the module looks at bits 51:25.
const RANGE_BITS = 0x000f_ffff_fe00_0000n;

const FEATURES0_TOPOLOGY_ENUM = 1n << 20n;
const FEATURES0_MAXPA_VIRT = 1n << 27n;
const FEATURES0_VE_REDUCTION = 1n << 30n;

const msr = (platform: Platform, index: number): bigint => BigInt(platform.msr[`0x${index.toString(16)}`] ?? 0);

/** Where the module itself lives; the mask's lowest set bit is the size (mask_to_size). */
function seamrr(platform: Platform): PhysicalRange {
  const mask = msr(platform, MSR_SEAMRR_MASK) & RANGE_BITS;
  return { base: Number(msr(platform, MSR_SEAMRR_BASE) & RANGE_BITS), size: Number(mask & -mask) };
}

function cpuidLookup({ document, entries }: ModuleBoot['rules']): ModuleFacts['cpuidLookup'] {
  // Compiled entries are in the order of their lookup indices, without the gaps.
  const indices = document.cpuid.map(({ index }) => index).sort((a, b) => a - b);
  const table = new Array<ModuleFacts['cpuidLookup'][number]>((indices.at(-1) ?? -1) + 1);
  indices.forEach((index, i) => {
    table[index] = entries[i];
  });
  return table;
}

/** What the leaves need to know of a module that has started. */
export function factsOf({ rules, platform, nativeFms, tscHz, keyIds, sysInfo }: ModuleBoot): ModuleFacts {
  const { sys } = platform;
  return {
    hkidStartBit: keyIds.startBit,
    hkidMask: keyIds.mask,
    privateHkidMin: keyIds.privateMin,
    privateHkidMax: keyIds.privateMax,
    globalHkid: keyIds.global,
    tdmrs: [{ base: Number(sys.tdmr_base), size: Number(sys.tdmr_size) }],
    seamrr: seamrr(platform),
    packages: sys.num_pkgs,
    platformFms: nativeFms,
    nativeTscFrequency: Number(tscHz),
    cpuidLookup: cpuidLookup(rules),
    perfMetrics: (msr(platform, MSR_PERF_CAPABILITIES) & PERF_METRICS_AVAILABLE) !== 0n,
    features: featuresOf({ rules, sysInfo }),
  };
}

/** What TDX_FEATURES0 and the rules document say of the leaves. */
export function featuresOf({ rules, sysInfo }: Pick<ModuleBoot, 'rules' | 'sysInfo'>): ModuleFeatures {
  const { tdxFeatures0 } = sysInfo;
  const { refusedVcpusCount = false, unblockOperand = 'RCX', unlistedCpuid } = rules.document.seamcalls ?? {};
  return {
    vpInitVersion: tdxFeatures0 & FEATURES0_TOPOLOGY_ENUM ? 1 : 0,
    virtualMaxPa: (tdxFeatures0 & FEATURES0_MAXPA_VIRT) !== 0n,
    veReduction: (tdxFeatures0 & FEATURES0_VE_REDUCTION) !== 0n,
    refusedVcpusCount,
    unblockOperand,
    unlistedCpuidReadable: unlistedCpuid === 'not-readable',
  };
}
