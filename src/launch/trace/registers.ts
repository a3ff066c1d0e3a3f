import { GPRS } from '../../kvm/gprs.js';

export type Gpr = (typeof GPRS)[number];

/** A register of an array in that order; 0 where the array ends before it. */
export const gpr = (values: BigUint64Array, name: Gpr): bigint => values[GPRS.indexOf(name)] ?? 0n;

/** Not BigUint64Array's own order: a record by name, as `0x...`. */
export const gprRecord = (values: BigUint64Array): Record<string, string> =>
  Object.fromEntries(GPRS.map((name) => [name, `0x${gpr(values, name).toString(16)}`]));
