import {
  type CpuidFeature,
  type CpuidRegister,
  cpuidPlace,
  featureAtBit,
  findFeature,
  suggestFeature,
} from '../names.js';

/** Bits of a register: a feature, a field, or one bit. `subleaf` is 0 where it is not significant. */
export interface BitPlace {
  leaf: number;
  subleaf: number;
  register: CpuidRegister;
  high: number;
  low: number;
  /** Of the feature, where the bits are one. */
  name?: string;
}

const NUMBER = '(?:0x[0-9a-fA-F]{1,8}|[0-9]{1,10})';
const PLACE = new RegExp(`^(${NUMBER})(?:\\.(${NUMBER}))?\\.(e[abcd]x)\\[([0-9]{1,2})(?::([0-9]{1,2}))?\\]$`, 'i');

/** Text that names no bit of CPUID. */
export class CpuidPlaceError extends Error {
  override readonly name = 'CpuidPlaceError';
}

const ofFeature = ({ leaf, subleaf, register, high, low, name }: CpuidFeature): BitPlace => ({
  leaf,
  subleaf,
  register,
  high,
  low,
  name,
});

/**
 * Reads `7.0.ebx[4]`, `0x80000008.eax[15:8]`, `AVX512F` or an alias; numbers are decimal or hexadecimal.
 * @throws CpuidPlaceError that says what was expected.
 */
export function parsePlace(text: string): BitPlace {
  const feature = findFeature(text);
  if (feature) return ofFeature(feature);
  const [, leaf, subleaf, register, high, low = high] = PLACE.exec(text) ?? [];
  if (register === undefined) {
    const near = suggestFeature(text);
    const hint = near ? `; did you mean ${near}?` : '';
    throw new CpuidPlaceError(
      `'${text}' names no bit of CPUID, expected a feature or a place such as 7.0.ebx[4]${hint}`,
    );
  }
  const [top, bottom] = [Number(high), Number(low)];
  if (top > 31 || bottom > top) throw new CpuidPlaceError(`'${text}': expected bits from [31:0], the higher first`);
  const place = {
    leaf: Number(leaf),
    subleaf: Number(subleaf ?? 0),
    register: register.toLowerCase() as CpuidRegister,
    high: top,
    low: bottom,
  };
  if (place.leaf > 0xffff_ffff || place.subleaf > 0xffff_ffff) {
    throw new CpuidPlaceError(`'${text}': expected a leaf and a sub-leaf of 32 bits`);
  }
  const named = featureAtBit(place.leaf, place.subleaf, place.register, bottom);
  return named && named.high === top && named.low === bottom ? ofFeature(named) : place;
}

/** `HLE (CPUID(0x7).EBX[4])`. */
export function placeText({ leaf, subleaf, register, high, low, name }: BitPlace): string {
  const place = cpuidPlace(leaf, subleaf, register, high, low);
  return name === undefined ? place : `${name} (${place})`;
}
