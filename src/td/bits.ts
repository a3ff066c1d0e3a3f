/** A named bit, or a named group of bits, of a 64-bit field. */
export interface NamedBits {
  readonly bits: readonly number[];
  readonly meaning: string;
}

export type NamedBitsTable = Readonly<Record<string, NamedBits>>;

export const maskOf = (entry: NamedBits): bigint => entry.bits.reduce((mask, bit) => mask | (1n << BigInt(bit)), 0n);

/** The mask of all `names` together. @throws RangeError for a name that the table does not have. */
export function maskOfNames(table: NamedBitsTable, names: readonly string[]): bigint {
  return names.reduce((mask, name) => {
    const entry = table[name];
    if (entry === undefined) throw new RangeError(`'${name}' is none of ${Object.keys(table).join(', ')}`);
    return mask | maskOf(entry);
  }, 0n);
}

/** Numbers of the bits that are set, lowest first. */
export function bitNumbers(value: bigint): number[] {
  const numbers: number[] = [];
  for (let bit = 0, rest = value; rest !== 0n; bit++, rest >>= 1n) if (rest & 1n) numbers.push(bit);
  return numbers;
}

/** `MIGRATABLE (bit 29), bit 40`: every set bit, with its name where one entry of the table is just that bit. */
export function describeBits(table: NamedBitsTable, value: bigint): string {
  const names = new Map(
    Object.entries(table).flatMap(([name, { bits }]) => (bits.length === 1 ? [[bits[0], name] as const] : [])),
  );
  return bitNumbers(value)
    .map((bit) => (names.has(bit) ? `${names.get(bit)} (bit ${bit})` : `bit ${bit}`))
    .join(', ');
}

/** `0x602e7`. */
export const hex = (value: bigint | number): string => `0x${value.toString(16)}`;
