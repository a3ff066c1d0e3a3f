// Checks of what callers pass, before any request is made: a wrong type or range is the caller's bug, not the kernel's answer.

const show = (value: unknown): string =>
  typeof value === 'number' || typeof value === 'bigint' || value == null ? String(value) : `a ${typeof value}`;

const typeError = (name: string, expected: string, value: unknown): TypeError =>
  Object.assign(new TypeError(`${name} must be ${expected}, got ${show(value)}`), { code: 'ERR_INVALID_ARG_TYPE' });

export const rangeError = (name: string, expected: string, value: unknown): RangeError =>
  Object.assign(new RangeError(`${name} must be ${expected}, got ${show(value)}`), { code: 'ERR_OUT_OF_RANGE' });

/** An integer from 0 to `most`. */
export function integer(name: string, value: unknown, most: number = Number.MAX_SAFE_INTEGER): number {
  const expected = `an integer from 0 to ${most}`;
  if (typeof value !== 'number') throw typeError(name, expected, value);
  if (!Number.isInteger(value) || value < 0 || value > most) throw rangeError(name, expected, value);
  return value;
}

export const u32 = (name: string, value: unknown): number => integer(name, value, 0xffff_ffff);

/** A bigint from 0 to 2^64-1. */
export function u64(name: string, value: unknown): bigint {
  const expected = 'a bigint from 0 to 2^64-1';
  if (typeof value !== 'bigint') throw typeError(name, expected, value);
  if (BigInt.asUintN(64, value) !== value) throw rangeError(name, expected, value);
  return value;
}

export function bytes(name: string, value: unknown, length?: number): Uint8Array {
  if (!(value instanceof Uint8Array)) throw typeError(name, 'a Uint8Array', value);
  if (length !== undefined && value.length !== length) throw rangeError(name, `${length} bytes`, value.length);
  return value;
}

export function object<T extends object>(name: string, value: T): T {
  if (typeof value !== 'object' || value === null) throw typeError(name, 'an object', value);
  return value;
}

export function list(name: string, value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw typeError(name, 'an array', value);
  return value;
}

const ENTRY_FIELDS = ['function', 'index', 'flags', 'eax', 'ebx', 'ecx', 'edx'] as const;

export function cpuidEntries(name: string, entries: unknown): void {
  for (const [i, entry] of list(name, entries).entries()) {
    const fields = object(`${name}[${i}]`, entry as Record<string, unknown>);
    for (const field of ENTRY_FIELDS) u32(`${name}[${i}].${field}`, fields[field]);
  }
}
