/** A set of experiments: those in which something holds. */
export type BitSet = Uint32Array;

export const emptySet = (size: number): BitSet => new Uint32Array((size + 31) >> 5);

export function fullSet(size: number): BitSet {
  const set = emptySet(size).fill(0xffff_ffff);
  if (size & 31) set[set.length - 1] = 2 ** (size & 31) - 1;
  return set;
}

export const addTo = (set: BitSet, n: number): void => {
  set[n >> 5]! |= 1 << (n & 31);
};

export const minus = (a: BitSet, b: BitSet): BitSet => a.map((word, i) => word & ~b[i]!);
export const and = (a: BitSet, b: BitSet): BitSet => a.map((word, i) => word & b[i]!);
export const isEmpty = (set: BitSet): boolean => set.every((word) => word === 0);
export const equal = (a: BitSet, b: BitSet): boolean => a.every((word, i) => word === b[i]);
/** All of `part` is in `whole`. */
export const within = (part: BitSet, whole: BitSet): boolean => part.every((word, i) => (word & ~whole[i]!) === 0);

export function count(set: BitSet): number {
  let sum = 0;
  for (let word of set) for (; word !== 0; word &= word - 1) sum++;
  return sum;
}
