import { REGISTERS } from '../cpuid/index.js';
import { KVM_CPUID_FLAG_SIGNIFCANT_INDEX } from '../kvm/constants.js';
import type { CpuidEntry } from '../kvm/cpuid.js';

/** A leaf that GET_CPUID shows; `subleaf` null where it is not significant. */
export interface Place {
  leaf: number;
  subleaf: number | null;
}

export const placeOf = ({ function: leaf, index, flags }: CpuidEntry): Place => ({
  leaf,
  subleaf: flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX ? index : null,
});

const hex = (value: number): string => `0x${value.toString(16)}`;

/** `7.0`, `0x80000008`: as expressions spell it. */
export const placeText = ({ leaf, subleaf }: Place): string => {
  const spelt = leaf < 10 ? `${leaf}` : hex(leaf);
  return subleaf === null ? spelt : `${spelt}.${subleaf < 10 ? subleaf : hex(subleaf)}`;
};

/** `7.0.ebx[16]`. @param register 0 to 3. */
export const bitText = (place: Place, register: number, bit: number): string =>
  `${placeText(place)}.${REGISTERS[register]}[${bit}]`;

/** `7.0.ebx[23:16]`. */
export const fieldText = (place: Place, register: number, high: number, low: number): string =>
  `${placeText(place)}.${REGISTERS[register]}[${high === low ? high : `${high}:${low}`}]`;

export const isPlace = (place: Place, leaf: number, index: number): boolean =>
  place.leaf === leaf && (place.subleaf ?? 0) === index;
