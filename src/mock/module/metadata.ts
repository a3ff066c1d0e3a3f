import { type Refusal, refuse } from './refusal.js';

/** One row of a field table: an array of `count` elements that share a class and follow each other in code. */
export interface FieldRow {
  name: string;
  class: number;
  /** Code of element 0. */
  code: number;
  count: number;
  /** Difference between the codes of neighbours. */
  stride: 1 | 2;
  /** All bits of an element. */
  full: bigint;
  access: Readonly<Record<'production' | 'debug', { readonly read: bigint; readonly write: bigint }>>;
}

/** An element of a field. */
export interface FieldElement {
  row: FieldRow;
  index: number;
}

const mask = (token: string, full: bigint): bigint =>
  token === '*' ? full : token === '-' ? 0n : BigInt(`0x${token}`);

/** Takes the text tables of fields-*.ts apart. */
export function parseFields(text: string, stride: 1 | 2 = 1): FieldRow[] {
  return text
    .trim()
    .split('\n')
    .map((line) => {
      const [cls, code, count, size, read, write, debugRead, debugWrite, ...name] = line.split(' ') as [
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        ...string[],
      ];
      const full = (1n << BigInt(8 << Number(size))) - 1n;
      return {
        name: name.join(' '),
        class: Number.parseInt(cls, 16),
        code: Number.parseInt(code, 16),
        count: Number(count),
        stride,
        full,
        access: {
          production: { read: mask(read, full), write: mask(write, full) },
          debug: { read: mask(debugRead, full), write: mask(debugWrite, full) },
        },
      };
    });
}

/** Field id bits that name no class and no code: element size, INC_SIZE, context and the rest are ignored. */
export const fieldClass = (id: bigint): number => Number((id >> 56n) & 0x3fn);
export const fieldCode = (id: bigint): number => Number(id & 0xff_ffffn);

// Reserved, last element in field, last field in sequence (md_check_as_single_element_id).
const MUST_BE_ZERO = (0xffn << 24n) | (0xfn << 34n) | (0x1ffn << 38n) | (7n << 47n) | (1n << 55n) | (1n << 62n);

/** An id that names one element, not a sequence. */
export function checkSingleElement(id: bigint): void {
  if (id & MUST_BE_ZERO) throw refuse('module.metadata.id');
}

export function findField(rows: readonly FieldRow[], id: bigint, code = fieldCode(id)): FieldElement {
  const cls = fieldClass(id);
  for (const row of rows) {
    const offset = code - row.code;
    if (row.class === cls && offset >= 0 && offset < row.count * row.stride)
      return { row, index: Math.floor(offset / row.stride) };
  }
  throw refuse('module.metadata.id');
}

/** What a host reads of `value`. */
export function readable({ row }: FieldElement, debug: boolean, value: bigint): bigint {
  const bits = row.access[debug ? 'debug' : 'production'].read;
  if (bits === 0n) throw refuse('module.metadata.readable');
  return value & bits;
}

/** The new value of an element: the host's bits under its mask and the field's, `old` elsewhere. */
export function written({ row }: FieldElement, debug: boolean, old: bigint, value: bigint, requested: bigint): bigint {
  const allowed = row.access[debug ? 'debug' : 'production'].write;
  if ((allowed & requested) === 0n) throw refuse('module.metadata.writable');
  if ((old ^ value) & requested & ~allowed) throw notValid();
  return (old & ~(allowed & requested)) | (value & allowed & requested);
}

export const notValid = (): Refusal => refuse('module.metadata.value');
