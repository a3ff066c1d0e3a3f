export type CpuidRegister = 'eax' | 'ebx' | 'ecx' | 'edx';

/** A bit number, or the highest and lowest bit of a field. */
export type BitRange = number | readonly [high: number, low: number];

/** Name, register, place, meaning, other names. */
export type NameRow = readonly [
  name: string,
  register: CpuidRegister,
  bits: BitRange,
  meaning: string,
  ...aliases: string[],
];

/** Names of one leaf. With more than one sub-leaf, each name gets the sub-leaf as a suffix: `CACHE_TYPE.0`. */
export interface LeafNames {
  readonly leaf: number;
  /** The sub-leaves that share this layout; [0] also for leaves without sub-leaves. */
  readonly subleaves: readonly number[];
  readonly rows: readonly NameRow[];
}
