// What callers pass, checked before any request is made and before the object's state is looked at: a wrong type or range
// is the caller's bug, not the kernel's answer. Both backends refuse by these, so they refuse alike. `name` is what the
// error calls the value, such as `entries[3].eax`.
import { types } from 'node:util';

const show = (value: unknown): string =>
  typeof value === 'number' || typeof value === 'bigint' || value === null || value === undefined
    ? String(value)
    : `a value of type ${typeof value}`;

export const typeError = (name: string, expected: string, value: unknown): TypeError =>
  Object.assign(new TypeError(`${name} must be ${expected}, got ${show(value)}`), { code: 'ERR_INVALID_ARG_TYPE' });

export const rangeError = (name: string, expected: string, value: unknown): RangeError =>
  Object.assign(new RangeError(`${name} must be ${expected}, got ${show(value)}`), { code: 'ERR_OUT_OF_RANGE' });

/** An integer from 0 to `most`. */
export function integer(name: string, value: unknown, most: number = Number.MAX_SAFE_INTEGER): number {
  if (typeof value !== 'number') throw typeError(name, `an integer from 0 to ${most}`, value);
  if (!Number.isInteger(value) || value < 0 || value > most) {
    throw rangeError(name, `an integer from 0 to ${most}`, value);
  }
  return value;
}

export const u32 = (name: string, value: unknown): number => integer(name, value, 0xffff_ffff);

/** A bigint from 0 to 2^64-1. */
export function u64(name: string, value: unknown): bigint {
  const expected = 'a bigint from 0 to 2^64-1';
  if (typeof value !== 'bigint') throw typeError(name, expected, value);
  if (value < 0n || value > 0xffff_ffff_ffff_ffffn) throw rangeError(name, expected, value);
  return value;
}

export function boolean(name: string, value: unknown): boolean {
  if (typeof value !== 'boolean') throw typeError(name, 'a boolean', value);
  return value;
}

export function record(name: string, value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null) throw typeError(name, 'an object', value);
  return value as Record<string, unknown>;
}

/** An array of exactly `length` elements, if that is given. */
export function list(name: string, value: unknown, length?: number): readonly unknown[] {
  if (!Array.isArray(value)) throw typeError(name, 'an array', value);
  if (length !== undefined && value.length !== length) {
    throw rangeError(name, `an array of ${length}`, value.length);
  }
  return value;
}

/** A view of bytes; a Buffer is one. Told by what it is, not by its prototype, which anything may have. */
export function bytes(name: string, value: unknown, length?: number): Uint8Array {
  if (!types.isUint8Array(value)) throw typeError(name, 'a Uint8Array', value);
  if (length !== undefined && value.length !== length) throw rangeError(name, `${length} bytes`, value.length);
  return value;
}

/** `length` bytes from `offset` inside `size` bytes. */
export function inside(offset: number, length: number, size: number, what: string): void {
  if (offset + length > size) {
    const expected = `within the ${what} of ${size} bytes, not ${length} bytes from offset ${offset}`;
    throw rangeError('offset + length', expected, offset + length);
  }
}
