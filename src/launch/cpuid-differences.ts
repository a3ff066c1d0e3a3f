import type { CpuidRegister } from '../cpuid/names/table.js';
import type { CpuidEntry } from '../kvm/index.js';

const REGISTERS: readonly CpuidRegister[] = ['eax', 'ebx', 'ecx', 'edx'];

/** Configurable bits that the TD has otherwise than KVM_TDX_INIT_VM asked for. */
export interface CpuidDifference {
  leaf: number;
  subleaf: number;
  register: CpuidRegister;
  /** The bits that differ. */
  bits: number;
  /** The register as asked for and as the TD has it. */
  asked: number;
  got: number;
  /** Why, as far as it is known. */
  reason: string;
}

const key = (entry: { function: number; index: number }): string => `${entry.function}:${entry.index}`;

const byKey = (entries: readonly CpuidEntry[]): Map<string, CpuidEntry> =>
  new Map(entries.map((entry) => [key(entry), entry]));

// Where zeros ask for the host's own value (tdh_mng_init.c): the family/model/stepping, the topology, the MAXPA.
const ZERO_MEANS_HOST = (leaf: number, register: CpuidRegister, asked: CpuidEntry): boolean =>
  (leaf === 1 && register === 'eax' && asked.eax === 0) ||
  (leaf === 0x1f && REGISTERS.every((name) => asked[name] === 0)) ||
  (leaf === 0x8000_0008 && register === 'eax' && (asked.eax & 0xff) === 0);

/**
 * Compares what KVM_TDX_INIT_VM was given with what KVM_TDX_GET_CPUID says the TD got, over the bits that
 * KVM_TDX_CAPABILITIES lists as configurable. Other bits were never asked for.
 */
export function compareCpuid(
  configurable: readonly CpuidEntry[],
  asked: readonly CpuidEntry[],
  got: readonly CpuidEntry[],
): CpuidDifference[] {
  const askedBy = byKey(asked);
  const gotBy = byKey(got);
  const differences: CpuidDifference[] = [];
  for (const mask of configurable) {
    const wish = askedBy.get(key(mask));
    if (!wish) continue;
    const result = gotBy.get(key(mask));
    for (const register of REGISTERS) {
      if (ZERO_MEANS_HOST(mask.function, register, wish)) continue;
      const bits = ((wish[register] ^ (result?.[register] ?? 0)) & mask[register]) >>> 0;
      // A leaf that GET_CPUID leaves out is one whose CPUID gives #VE in the guest: user space answers it.
      if (bits === 0 || !result) continue;
      const lost = (bits & wish[register]) >>> 0;
      differences.push({
        leaf: mask.function,
        subleaf: mask.index,
        register,
        bits,
        asked: wish[register],
        got: result[register],
        reason:
          lost === bits
            ? 'asked for, but the processor lacks it, or the XFAM or attribute it depends on is not set'
            : 'not asked for, but the module sets it',
      });
    }
  }
  return differences;
}
