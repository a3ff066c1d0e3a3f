import { TD_ATTRIBUTES, type TdAttributeName } from '../../td/attributes.js';
import { maskOf } from '../../td/bits.js';
import { XFAM_FEATURES, type XfamName } from '../../td/xfam.js';
import { parsePlace, placeText } from './place.js';
import type { Wish } from './reach.js';

/** What somebody wants of a TD. */
export interface CpuidWishes {
  /** Features and bits that guests are to find: `AVX512F`, `7.0.ebx[16]`; `AVX512`, `AMX` and other groups of XFAM. */
  want?: readonly string[];
  /** Features and bits that guests are not to find; `TSX` stands for HLE and RTM. */
  avoid?: readonly string[];
  /** The TD can be migrated (ATTRIBUTES.MIGRATABLE). */
  migratable?: boolean;
  /** Guests find the same in CPUID on every host that is asked about. */
  sameEverywhere?: boolean;
}

/** One thing that is wanted, which holds or not as a whole. */
export interface Demand {
  /** As it was said: `AVX512F`, `not TSX`, `migratable`. */
  text: string;
  bits: readonly Wish[];
  /** Bits of XFAM and ATTRIBUTES that are to be set or clear. */
  xfam?: { mask: bigint; value: 0 | 1 };
  attributes?: { mask: bigint; value: 0 | 1 };
  sameEverywhere?: true;
}

/** Names that stand for several features. */
const GROUPS: Readonly<Record<string, readonly string[]>> = {
  TSX: ['HLE', 'RTM'],
  CET: ['CET_SS', 'CET_IBT'],
  AVX512: ['AVX512F', 'AVX512DQ', 'AVX512CD', 'AVX512BW', 'AVX512VL'],
  AMX: ['AMX_TILE', 'AMX_INT8', 'AMX_BF16'],
};

const isXfam = (name: string): name is XfamName => Object.hasOwn(XFAM_FEATURES, name);
const isAttribute = (name: string): name is TdAttributeName => Object.hasOwn(TD_ATTRIBUTES, name);

function demand(name: string, value: 0 | 1): Demand {
  const text = value ? name : `not ${name}`;
  const upper = name.toUpperCase();
  const group = GROUPS[upper];
  const places = (group ?? [name]).flatMap((one) => {
    try {
      return [parsePlace(one)];
    } catch (error) {
      if (isXfam(upper) || isAttribute(upper)) return [];
      throw error;
    }
  });
  for (const place of places) {
    if (place.high !== place.low) {
      throw new RangeError(
        `${placeText(place)} is a field of several bits: wish for single ones, or give its value in a configuration`,
      );
    }
  }
  const bits = places.map(({ leaf, subleaf, register, low }) => ({ leaf, subleaf, register, bit: low, value }));
  return {
    text,
    bits,
    ...(isXfam(upper) && value === 1 && { xfam: { mask: maskOf(XFAM_FEATURES[upper]), value } }),
    ...(isXfam(upper) && bits.length === 0 && { xfam: { mask: maskOf(XFAM_FEATURES[upper]), value } }),
    ...(isAttribute(upper) && bits.length === 0 && { attributes: { mask: maskOf(TD_ATTRIBUTES[upper]), value } }),
  };
}

/**
 * Wishes as demands.
 * @throws CpuidPlaceError for a name that is none, RangeError for a field of several bits.
 */
export const demandsOf = ({ want = [], avoid = [], migratable, sameEverywhere }: CpuidWishes): Demand[] => [
  ...want.map((name) => demand(name, 1)),
  ...avoid.map((name) => demand(name, 0)),
  ...(migratable === undefined
    ? []
    : [
        {
          text: migratable ? 'migratable' : 'not migratable',
          bits: [],
          attributes: { mask: maskOf(TD_ATTRIBUTES.MIGRATABLE), value: migratable ? (1 as const) : (0 as const) },
        },
      ]),
  ...(sameEverywhere ? [{ text: 'same on every host', bits: [], sameEverywhere: true as const }] : []),
];
