const BITS_63_0 = 63;

/**
 * The bits of a physical address that hold the KeyID: [startBit + bits - 1 : startBit]. Bit numbers wrap at 64, as the
 * processor's shifts do, where a MAXPA below the number of KeyID bits puts the field across bit 63.
 */
export function keyIdMask(startBit: number, bits: number): bigint {
  const bit = (n: number): bigint => 1n << BigInt(n & BITS_63_0);
  return bits === 0 ? 0n : BigInt.asUintN(64, 2n * bit(startBit + bits - 1) - bit(startBit));
}
