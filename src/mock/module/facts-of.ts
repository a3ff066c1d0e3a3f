import type { Platform } from '../platform.js';
import type { ModuleBoot } from './boot.js';
import type { ModuleFacts, ModuleFeatures, PhysicalRange } from './facts.js';

const MSR_SEAMRR_BASE = 0x1400;
const MSR_SEAMRR_MASK = 0x1401;
// Bits 11:0 of both MSRs are flags.
const RANGE_BITS = 0x000f_ffff_ffff_f000n;

const FEATURES0_TOPOLOGY_ENUM = 1n << 20n;
const FEATURES0_MAXPA_VIRT = 1n << 27n;

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
export function factsOf({ rules, platform, nativeFms, tscHz, maxPa, keyIds, sysInfo }: ModuleBoot): ModuleFacts {
  const { sys } = platform;
  return {
    maxPa,
    hkidStartBit: keyIds.startBit,
    privateHkidMin: keyIds.privateMin,
    privateHkidMax: keyIds.privateMax,
    globalHkid: keyIds.global,
    tdmrs: [{ base: Number(sys.tdmr_base), size: Number(sys.tdmr_size) }],
    seamrr: seamrr(platform),
    packages: sys.num_pkgs,
    platformFms: nativeFms,
    nativeTscFrequency: Number(tscHz),
    cpuidLookup: cpuidLookup(rules),
    features: featuresOf(sysInfo),
  };
}

/** What TDX_FEATURES0 says of the leaves. */
export const featuresOf = ({ tdxFeatures0 }: ModuleBoot['sysInfo']): ModuleFeatures => ({
  vpInitVersion: tdxFeatures0 & FEATURES0_TOPOLOGY_ENUM ? 1 : 0,
  virtualMaxPa: (tdxFeatures0 & FEATURES0_MAXPA_VIRT) !== 0n,
});
