import { CPUID_REGISTERS, type CpuidRegister, describeCpuidBits, featureAtBit } from '../cpuid/names.js';
import type { CpuidEntry } from '../kvm/cpuid.js';
import { entryAt, GPAW_MASK } from '../td/cpuid-entries.js';
import type { TdHostFacts } from '../td/host-facts.js';

/** Bits of a CPUID entry that the module takes or refuses as one. */
export interface CpuidBits {
  readonly leaf: number;
  readonly subleaf: number;
  readonly register: CpuidRegister;
  /** The bits that are set. */
  readonly bits: number;
  /** `AMX_FP16 (bit 21)`. */
  readonly names: string;
  /** The capabilities do not list them as configurable. */
  readonly outsideMask: boolean;
}

export interface CpuidAtom extends CpuidBits {
  /** Of the entry in the list. */
  readonly position: number;
}

// HLE and RTM of CPUID(7,0).EBX: the module wants them equal.
const TSX = (1 << 4) | (1 << 11);

/** Bits of a register that belong together: all of CPUID(1).EAX, HLE and RTM, a named field, or one bit. */
function unitOf({ function: leaf, index }: CpuidEntry, register: CpuidRegister, bit: number): number {
  if (leaf === 7 && index === 0 && register === 'ebx' && (TSX & (1 << bit)) !== 0) return TSX;
  if (leaf === 1 && register === 'eax') return 0xffff_ffff;
  return featureAtBit(leaf, index, register, bit)?.mask ?? (1 << bit) >>> 0;
}

function atomsOfRegister(entry: CpuidEntry, position: number, register: CpuidRegister, mask: number): CpuidAtom[] {
  const { function: leaf, index: subleaf } = entry;
  const atoms: CpuidAtom[] = [];
  // The GPAW never reaches the module in this place.
  let left = leaf === 0x8000_0008 && register === 'eax' ? (entry.eax & ~GPAW_MASK) >>> 0 : entry[register];
  while (left !== 0) {
    const bit = 31 - Math.clz32(left & -left);
    const outsideMask = ((mask >>> bit) & 1) === 0;
    const side = outsideMask ? ~mask : mask;
    const bits = (left & unitOf(entry, register, bit) & side) >>> 0;
    const names = describeCpuidBits(leaf, subleaf, register, bits);
    atoms.push({ position, leaf, subleaf, register, bits, names, outsideMask });
    left = (left & ~bits) >>> 0;
  }
  return atoms;
}

/** Every set bit or field of the entries, those outside the configurable masks first. */
export function cpuidAtoms(entries: readonly CpuidEntry[], host: TdHostFacts): CpuidAtom[] {
  const atoms = entries.flatMap((entry, position) => {
    const mask = entryAt(host.capabilities.cpuid, entry.function, entry.index);
    return CPUID_REGISTERS.flatMap((register) => atomsOfRegister(entry, position, register, mask?.[register] ?? 0));
  });
  return atoms.sort((one, other) => Number(other.outsideMask) - Number(one.outsideMask));
}

/** The entries with these bits only; the GPAW stays. */
export function entriesWith(entries: readonly CpuidEntry[], atoms: readonly CpuidAtom[]): CpuidEntry[] {
  const kept = entries.map((entry) => {
    const eax = entry.function === 0x8000_0008 ? entry.eax & GPAW_MASK : 0;
    return { ...entry, eax, ebx: 0, ecx: 0, edx: 0 };
  });
  for (const { position, register, bits } of atoms) {
    const entry = kept[position]!;
    entry[register] = (entry[register] | bits) >>> 0;
  }
  return kept;
}
