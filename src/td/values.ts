// The spellings that the schema allows, as the values they stand for. Input has passed the schema.

export const toU64 = (value: number | bigint | string): bigint => BigInt(value);

/** An unsigned 32-bit number of a number or of `0x` and hexadecimal digits. */
export const toU32 = (value: number | string): number => Number(value) >>> 0;

const units: Readonly<Record<string, number>> = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 };

/** Bytes of a number or of text such as `256MiB`. */
export function toBytes(size: number | string): number {
  if (typeof size === 'number') return size;
  return Number.parseInt(size, 10) * units[size.slice(-3)]!;
}

/** 48 bytes of hexadecimal digits, base64 or bytes. Left out: zeros. */
export function toBytes48(value: string | Uint8Array | undefined): Uint8Array {
  if (value === undefined) return new Uint8Array(48);
  if (typeof value !== 'string') return Uint8Array.from(value);
  const digits = value.replace(/^0[xX]/, '');
  return Uint8Array.from(Buffer.from(digits, digits.length === 96 ? 'hex' : 'base64'));
}
