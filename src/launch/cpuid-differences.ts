import { CPUID_REGISTERS, type CpuidRegister } from '../cpuid/names.js';
import type { BitKind } from '../cpuid/origin.js';
import type { CpuidEvaluation } from '../cpuid/questions/evaluation.js';
import type { CpuidEntry } from '../kvm/index.js';
import { entryAt } from '../td/cpuid-entries.js';

/** Configurable bits that the TD has otherwise than KVM_TDX_INIT_VM asked for, for one reason. */
export interface CpuidDifference {
  leaf: number;
  subleaf: number;
  register: CpuidRegister;
  /** The bits that differ. */
  bits: number;
  /** The register as asked for and as the TD has it. */
  asked: number;
  got: number;
  /** How the module comes to the bits' values; `unknown` where its rules are not known. */
  kind: BitKind | 'unknown';
  /** Why, as far as it is known. */
  reason: string;
}

// Where zeros ask for the host's own value (tdh_mng_init.c): the family/model/stepping, the topology, the MAXPA.
const ZERO_MEANS_HOST = (leaf: number, register: CpuidRegister, asked: CpuidEntry): boolean =>
  (leaf === 1 && register === 'eax' && asked.eax === 0) ||
  (leaf === 0x1f && CPUID_REGISTERS.every((name) => asked[name] === 0)) ||
  (leaf === 0x8000_0008 && register === 'eax' && (asked.eax & 0xff) === 0);

const NOT_KNOWN = {
  1: 'asked for, but the processor lacks it, or the XFAM or attribute it depends on is not set',
  0: 'not asked for, but the module sets it',
} as const;

const bitOf = (value: number, bit: number): 0 | 1 => ((value >>> bit) & 1) as 0 | 1;

/** Why a bit is not what was asked for; undefined where the guest decides what it will be. */
function reasonOf(
  evaluation: CpuidEvaluation,
  { function: leaf, index }: CpuidEntry,
  register: CpuidRegister,
  bit: number,
  asked: number,
): Pick<CpuidDifference, 'kind' | 'reason'> | undefined {
  const expected = evaluation.bit(leaf, index, register, bit);
  if (expected === undefined || expected.kind === 'unknown')
    return { kind: 'unknown', reason: NOT_KNOWN[bitOf(asked, bit)] };
  if (expected.value === 'guest decides') return undefined;
  const { kind, stored, reason } = expected;
  if (stored !== bitOf(asked, bit)) return { kind, reason };
  const module = evaluation.host.rules?.module;
  return {
    kind,
    reason: `the rules for module ${module} expect ${stored} (${reason}), and this host answers otherwise`,
  };
}

/**
 * Compares what KVM_TDX_INIT_VM was given with what KVM_TDX_GET_CPUID says the TD got, over the bits that
 * KVM_TDX_CAPABILITIES lists as configurable. Other bits were never asked for; bits that the guest decides are no difference.
 * @param evaluate evaluates the configuration that `asked` comes from, for the reasons; called if anything differs.
 */
export function compareCpuid(
  configurable: readonly CpuidEntry[],
  asked: readonly CpuidEntry[],
  got: readonly CpuidEntry[],
  evaluate: () => CpuidEvaluation,
): CpuidDifference[] {
  let evaluation: CpuidEvaluation | undefined;
  const differences: CpuidDifference[] = [];
  for (const mask of configurable) {
    const wish = entryAt(asked, mask.function, mask.index);
    // A leaf that GET_CPUID leaves out is one whose CPUID gives #VE in the guest: user space answers it.
    const result = entryAt(got, mask.function, mask.index);
    if (!wish || !result) continue;
    for (const register of CPUID_REGISTERS) {
      if (ZERO_MEANS_HOST(mask.function, register, wish)) continue;
      const bits = ((wish[register] ^ result[register]) & mask[register]) >>> 0;
      const byReason = new Map<string, CpuidDifference>();
      for (let bit = 0; bit < 32; bit++) {
        if (bitOf(bits, bit) === 0) continue;
        evaluation ??= evaluate();
        const why = reasonOf(evaluation, mask, register, bit, wish[register]);
        if (why === undefined) continue;
        const place = { leaf: mask.function, subleaf: mask.index, register };
        const known = byReason.get(why.reason) ?? {
          ...place,
          bits: 0,
          asked: wish[register],
          got: result[register],
          ...why,
        };
        byReason.set(why.reason, { ...known, bits: (known.bits | (1 << bit)) >>> 0 });
      }
      differences.push(...byReason.values());
    }
  }
  return differences;
}
