// Checks of values inside the objects that callers pass; the addon checks plain arguments itself. `name` is what the
// error calls the value, such as `entries[3].eax`.

const show = (value: unknown): string =>
  typeof value === 'number' || typeof value === 'bigint' || value === null || value === undefined
    ? String(value)
    : `a value of type ${typeof value}`;

const typeError = (name: string, expected: string, value: unknown): TypeError =>
  Object.assign(new TypeError(`${name} must be ${expected}, got ${show(value)}`), { code: 'ERR_INVALID_ARG_TYPE' });

const rangeError = (name: string, expected: string, value: unknown): RangeError =>
  Object.assign(new RangeError(`${name} must be ${expected}, got ${show(value)}`), { code: 'ERR_OUT_OF_RANGE' });

/** An integer from 0 to `most`. */
export function integer(name: string, value: unknown, most: number = Number.MAX_SAFE_INTEGER): number {
  const expected = `an integer from 0 to ${most}`;
  if (typeof value !== 'number') throw typeError(name, expected, value);
  if (!Number.isInteger(value) || value < 0 || value > most) throw rangeError(name, expected, value);
  return value;
}

/** A bigint from 0 to 2^64-1. */
export function bigint(name: string, value: unknown): bigint {
  const expected = 'a bigint from 0 to 2^64-1';
  if (typeof value !== 'bigint') throw typeError(name, expected, value);
  if (value < 0n || value > 0xffff_ffff_ffff_ffffn) throw rangeError(name, expected, value);
  return value;
}

export function record(name: string, value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null) throw typeError(name, 'an object', value);
  return value as Record<string, unknown>;
}

export function array(name: string, value: unknown, length?: number): readonly unknown[] {
  if (!Array.isArray(value)) throw typeError(name, 'an array', value);
  if (length !== undefined && value.length !== length) {
    throw rangeError(name, `an array of ${length}`, value.length);
  }
  return value;
}

/** A view of bytes; a Buffer is one. */
export function bytes(name: string, value: unknown, length?: number): Uint8Array {
  if (!(value instanceof Uint8Array)) throw typeError(name, 'a Uint8Array', value);
  if (length !== undefined && value.length !== length) throw rangeError(name, `${length} bytes`, value.length);
  return value;
}

export function boolean(name: string, value: unknown): boolean {
  if (typeof value !== 'boolean') throw typeError(name, 'a boolean', value);
  return value;
}
