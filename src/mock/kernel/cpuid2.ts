import { KVM_CPUID_FLAG_SIGNIFCANT_INDEX } from '../../kvm/constants.js';
import type { CpuidEntry } from '../../kvm/cpuid.js';

/** KVM_MAX_CPUID_ENTRIES. */
export const MAX_CPUID_ENTRIES = 256;

/** kvm_find_cpuid_entry2(): the first entry of the leaf whose index is `index`, or counts for nothing. */
export const findCpuidEntry = (
  entries: readonly CpuidEntry[],
  leaf: number,
  index: number | 'not-significant',
): CpuidEntry | undefined =>
  entries.find(
    (entry) =>
      entry.function === leaf &&
      ((entry.flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) === 0 || entry.index === index || index === 'not-significant'),
  );

/** CPUID(0x80000008), only where CPUID(0x80000000) reaches it (cpuid_query_maxphyaddr). */
function addressWidths(entries: readonly CpuidEntry[]): number | undefined {
  const limit = findCpuidEntry(entries, 0x8000_0000, 'not-significant');
  if (!limit || limit.eax < 0x8000_0008) return undefined;
  return findCpuidEntry(entries, 0x8000_0008, 'not-significant')?.eax;
}

/** cpuid_query_maxphyaddr(): bits. */
export const maxPhyAddr = (entries: readonly CpuidEntry[]): number => {
  const eax = addressWidths(entries);
  return eax === undefined ? 36 : eax & 0xff;
};

/** cpuid_query_maxguestphyaddr(): bits, 0 where the entries do not say. */
export const maxGuestPhyAddr = (entries: readonly CpuidEntry[]): number =>
  ((addressWidths(entries) ?? 0) >>> 16) & 0xff;

/** The rows of `entries` by value: what KVM keeps is its own copy. */
export const copyEntries = (entries: readonly CpuidEntry[]): CpuidEntry[] => entries.map((entry) => ({ ...entry }));
