import type { ModuleFeatures } from './facts.js';
import { checkSingleElement, fieldClass, fieldCode } from './metadata.js';
import { refuse } from './refusal.js';

/** Context codes of field ids. */
export const CONTEXT = { SYS: 0n, TD: 1n, VP: 2n } as const;
export type Context = (typeof CONTEXT)[keyof typeof CONTEXT];

/** MD_FIELD_ID_NA: no field, or, when asked for, the first one. */
export const NO_FIELD = (1n << 64n) - 1n;
const CONTEXT_MASK = 7n << 52n;

/** One row of a table of fields: `fields` of `elements` each, with codes that follow each other. */
export interface GuestField {
  id: bigint;
  fields: number;
  elements: number;
  /** Bits that a guest reads. */
  read: bigint;
  name: string;
}

type Since = 'topology' | 'maxpa' | 've-reduction' | 'old' | '-';

const has = (since: Since, { vpInitVersion, virtualMaxPa, veReduction }: ModuleFeatures): boolean =>
  ({
    '-': true,
    old: vpInitVersion === 0,
    topology: vpInitVersion > 0,
    maxpa: virtualMaxPa,
    've-reduction': veReduction,
  })[since];

const ELEMENT_SIZE = 3n;
const fullMask = (id: bigint): bigint => (1n << (8n << ((id >> 32n) & ELEMENT_SIZE))) - 1n;

const parsed = new WeakMap<ModuleFeatures, Map<string, GuestField[]>>();

/** Takes a table of fields-guest.ts or fields-sys.ts apart, for one module. */
export function guestFields(text: string, features: ModuleFeatures): GuestField[] {
  const tables = parsed.get(features) ?? new Map<string, GuestField[]>();
  parsed.set(features, tables);
  const rows = tables.get(text) ?? parse(text, features);
  tables.set(text, rows);
  return rows;
}

function parse(text: string, features: ModuleFeatures): GuestField[] {
  return text
    .trim()
    .split('\n')
    .map((line) => line.split(' ') as [string, string, string, string, Since, string])
    .filter(([, , , , since]) => has(since, features))
    .map(([hex, fields, elements, read, , name]) => {
      const id = BigInt(`0x${hex}`);
      const mask = read === '*' ? fullMask(id) : read === '-' ? 0n : BigInt(`0x${read}`);
      return { id, fields: Number(fields), elements: Number(elements), read: mask, name };
    });
}

export const withContext = (id: bigint, context: Context): bigint => (id & ~CONTEXT_MASK) | (context << 52n);
export const isNull = (id: bigint): boolean => (id | CONTEXT_MASK) === NO_FIELD;

const count = ({ fields, elements }: GuestField): number => fields * elements;

export const codeIn = (row: GuestField, id: bigint): number => fieldCode(id) - fieldCode(row.id);

export const findGuestField = (rows: readonly GuestField[], id: bigint): GuestField | undefined =>
  rows.find((row) => fieldClass(row.id) === fieldClass(id) && codeIn(row, id) >= 0 && codeIn(row, id) < count(row));

/** The id behind `id` that a guest may read (metadata_generic.c md_get_next_element_in_context). */
export function nextElement(rows: readonly GuestField[], id: bigint): bigint {
  const row = isNull(id) ? undefined : findGuestField(rows, id);
  if (row && codeIn(row, id) < count(row) - 1) return id + 1n;
  const rest = row ? rows.slice(rows.indexOf(row) + 1) : rows;
  return rest.find(({ read }) => read !== 0n)?.id ?? NO_FIELD;
}

/** The id of one element; a null id is no error, but asks for the first field that a guest may read, in `first`. */
export function checkReadId(rows: readonly GuestField[], id: bigint, first: (next: bigint) => void): void {
  if (isNull(id)) {
    first(nextElement(rows, NO_FIELD));
    throw refuse('module.metadata.first');
  }
  checkSingleElement(id);
}
