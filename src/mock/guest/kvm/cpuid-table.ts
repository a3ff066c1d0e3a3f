import { KVM_CPUID_FLAG_SIGNIFCANT_INDEX } from '../../../kvm/constants.js';
import type { CpuidEntry } from '../../../kvm/cpuid.js';

type Values = readonly [number, number, number, number];
/** What the module gives; undefined: #VE. */
type Ask = (leaf: number, subleaf: number) => Values | undefined;

/** Leaves with sub-leaves and how many of them KVM is told of: 19 of XSAVE's 63 have been given away. */
const SUBLEAVES: Readonly<Record<number, number>> = {
  4: 5,
  7: 3,
  11: 3,
  13: 20,
  15: 2,
  16: 4,
  18: 4,
  20: 2,
  23: 4,
  24: 8,
  27: 2,
  29: 2,
  30: 2,
  31: 6,
  32: 1,
  35: 4,
  36: 2,
};
const LAST_BASIC = 0x24;
const FIRST_EXTENDED = 0x8000_0000;
const LAST_EXTENDED = 0x8000_0008;
const ADDRESS_WIDTHS = 0x8000_0008;
const XSTATE = 13;

const leaves = [
  ...Array.from({ length: LAST_BASIC + 1 }, (_, i) => i),
  ...Array.from({ length: LAST_EXTENDED - FIRST_EXTENDED + 1 }, (_, i) => FIRST_EXTENDED + i),
];

/**
 * The argument of KVM_SET_CPUID2: for CPUID instructions that were not found in time, see `Discovery`. A leaf that gives
 * a TD a #VE is answered as this host would.
 * @param ask the module. @param host KVM_GET_SUPPORTED_CPUID. @param addressBits at least so many bits of an address that
 * a page table may hold, the SHARED bit among them.
 */
export function cpuidTable(ask: Ask, host: readonly CpuidEntry[], addressBits: number): CpuidEntry[] {
  const table: CpuidEntry[] = [];
  for (const leaf of leaves) {
    const count = SUBLEAVES[leaf];
    for (let index = 0; index < (count ?? 1); index++) {
      const values = ask(leaf, index) ?? ofHost(host, leaf, index);
      if (values === undefined) continue;
      const [eax, ebx, ecx, edx] = values;
      const flags = count === undefined ? 0 : KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
      table.push({ function: leaf, index, flags, eax, ebx, ecx, edx });
    }
  }
  return table.map((entry) => {
    if (entry.function === ADDRESS_WIDTHS) return withAddressBits(entry, addressBits);
    return entry.function === XSTATE ? withinHost(entry, host) : entry;
  });
}

/** KVM refuses state components that this process has no permission for (EPERM), and this host may lack others. */
function withinHost(entry: CpuidEntry, host: readonly CpuidEntry[]): CpuidEntry {
  const [eax, , ecx, edx] = ofHost(host, XSTATE, entry.index) ?? [0, 0, 0, 0];
  if (entry.index === 0) return { ...entry, eax: (entry.eax & eax) >>> 0, edx: (entry.edx & edx) >>> 0 };
  if (entry.index === 1)
    return { ...entry, eax: (entry.eax & eax) >>> 0, ecx: (entry.ecx & ecx) >>> 0, edx: (entry.edx & edx) >>> 0 };
  return entry;
}

function ofHost(host: readonly CpuidEntry[], leaf: number, index: number): Values | undefined {
  const found = host.find((entry) => entry.function === leaf && entry.index === index);
  return found && [found.eax, found.ebx, found.ecx, found.edx];
}

const withAddressBits = (entry: CpuidEntry, bits: number): CpuidEntry => ({
  ...entry,
  eax: ((entry.eax & ~0xff) | Math.max(entry.eax & 0xff, bits)) >>> 0,
});

/** For probes: the host's own table, with addresses of at least `bits` bits. */
export const hostTable = (host: readonly CpuidEntry[], bits: number): CpuidEntry[] =>
  host.map((entry) => (entry.function === ADDRESS_WIDTHS ? withAddressBits(entry, bits) : entry));
