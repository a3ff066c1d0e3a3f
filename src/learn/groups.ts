/** Bits of XFAM or ATTRIBUTES that can only be set together. */
export interface BitGroup {
  /** Lowest first. */
  bits: number[];
  /** Bits of other groups that must be set too. */
  needs: number[];
}

export interface BitGroups {
  groups: BitGroup[];
  /** Offered, and refused in every combination that was tried. */
  refused: number[];
  /** Pairs that are accepted one by one and refused together. */
  exclusive: [number, number][];
  /** As many bits as are accepted together. */
  full: bigint;
}

type Accepts = (mask: bigint) => Promise<boolean>;

const bit = (n: number): bigint => 1n << BigInt(n);
const maskOf = (bits: readonly number[]): bigint => bits.reduce((mask, n) => mask | bit(n), 0n);

/** Finds which bits of a field go together, which need others and which exclude each other. */
export async function findGroups(bits: readonly number[], accepts: Accepts): Promise<BitGroups> {
  const alone = new Set<number>();
  for (const n of bits) if (await accepts(bit(n))) alone.add(n);
  if (!(await accepts(maskOf(bits)))) {
    for (const n of bits) {
      const rest = bits.filter((other) => other !== n);
      if (alone.has(n) || !(await accepts(maskOf(rest)))) continue;
      const found = await findGroups(rest, accepts);
      return { ...found, refused: [...found.refused, n] };
    }
    return exclusiveGroups(bits, alone, accepts);
  }

  const closures = new Map<number, number[]>();
  for (const n of bits) closures.set(n, alone.has(n) ? [n] : await closure(n, bits, closures, accepts));
  const groups = new Map<string, BitGroup>();
  for (const [n, all] of closures) {
    const together = all.filter((other) => closures.get(other)!.includes(n)).sort((a, b) => a - b);
    groups.set(together.join(), { bits: together, needs: all.filter((other) => !together.includes(other)) });
  }
  return { groups: [...groups.values()], refused: [], exclusive: [], full: maskOf(bits) };
}

/**
 * The least accepted set with bit `n`, if what is refused is refused because bits need others: starts from an accepted set
 * and leaves out bits while that is accepted.
 */
async function closure(
  n: number,
  bits: readonly number[],
  known: ReadonlyMap<number, number[]>,
  accepts: Accepts,
): Promise<number[]> {
  const containing = [...known.values()].filter((set) => set.includes(n)).sort((a, b) => a.length - b.length);
  let current: readonly number[] = containing[0] ?? bits;
  for (;;) {
    const less = await without(current, n, accepts);
    if (!less) return [...current];
    current = less;
  }
}

/** An accepted set with fewer bits: without a run of neighbours, as the bits of a feature are, or without any two. */
async function without(current: readonly number[], n: number, accepts: Accepts): Promise<number[] | undefined> {
  for (const left of smaller(current)) if (left.includes(n) && (await accepts(maskOf(left)))) return left;
  return undefined;
}

function* smaller(set: readonly number[]): Generator<number[]> {
  for (let length = set.length - 1; length >= 1; length--)
    for (let from = 0; from + length <= set.length; from++) yield set.filter((_, i) => i < from || i >= from + length);
  for (let a = 0; a < set.length; a++)
    for (let b = a + 2; b < set.length; b++) yield set.filter((_, i) => i !== a && i !== b);
}

async function exclusiveGroups(
  bits: readonly number[],
  alone: ReadonlySet<number>,
  accepts: Accepts,
): Promise<BitGroups> {
  const able = bits.filter((n) => alone.has(n));
  const exclusive: [number, number][] = [];
  for (const [i, a] of able.entries())
    for (const b of able.slice(i + 1)) if (!(await accepts(bit(a) | bit(b)))) exclusive.push([a, b]);
  let full = 0n;
  for (const n of able) if (await accepts(full | bit(n))) full |= bit(n);
  const refused = bits.filter((n) => !alone.has(n));
  return { groups: able.map((n) => ({ bits: [n], needs: [] })), refused, exclusive, full };
}
