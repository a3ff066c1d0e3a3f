// The page list: a TD without firmware, as a JSON document.
//
//   {
//     "name": "hello",                            optional, for people
//     "pages": [                                  added in this order
//       { "gpa": "0xfffff000", "file": "boot.bin" },
//       { "gpa": "0x1000", "hex": "b8 00 10 00 00", "measure": false },
//       { "gpa": 8192, "size": 16384 },           zeros
//       { "gpa": "0x10000", "size": 4096, "measure": false, "hob": true }
//     ]
//   }
//
// Each entry: `gpa`, a multiple of 4096 (number, or string in hexadecimal or decimal); at most one of `file` (a path, from
// its byte `offset`, `length` bytes), `hex` (spaces allowed) and `base64`; `size` in bytes, a multiple of 4096, default the
// content rounded up to pages; `measure`, default true; `add`, default true; `hob`, the place of the TD HOB, default false.
import { inspect } from 'node:util';
import { PAGE_SIZE } from '../kvm/constants.js';
import { hex } from './bytes.js';
import { MAX_ADDED, PRIVATE_END } from './check-sections.js';
import { ImageError } from './errors.js';
import { IMAGE_RULES } from './rules.js';
import type { TdImage, TdRegion } from './td-image.js';

/** Gives the bytes of a file that a page list names. */
export type ReadFile = (path: string) => Uint8Array;

type Json = Record<string, unknown>;

const refuse = (where: string, problem: string, expected: string, found?: unknown): never => {
  const shown = found === undefined ? undefined : inspect(found, { depth: 0, breakLength: Infinity }).slice(0, 80);
  const { id, fix } = IMAGE_RULES['image.pages'];
  throw new ImageError({
    rule: id,
    what: `page list: ${where} ${problem}`,
    expected,
    fix,
    ...(shown && { found: shown }),
  });
};

/** Whether a file is a page list rather than firmware: it begins with `{`, after white space or a byte order mark. */
export function isPageList(bytes: Uint8Array): boolean {
  if (!(bytes instanceof Uint8Array)) return false;
  const head = new TextDecoder().decode(bytes.subarray(0, 64));
  return head.trimStart().startsWith('{');
}

/**
 * Reads a page list. @param json the text, or the parsed document. @param readFile reads the files it names.
 * @throws ImageError that names the entry and the field.
 */
export function parsePageList(json: unknown, readFile?: ReadFile): TdImage {
  const document = object(typeof json === 'string' ? parseJson(json) : json, 'document', ['name', 'pages']);
  const { name = 'page list', pages } = document;
  if (typeof name !== 'string') refuse('name', 'is not text', 'a string', name);
  if (!Array.isArray(pages) || pages.length === 0) refuse('pages', 'is missing or empty', 'a list of pages', pages);
  const entries = (pages as unknown[]).map((entry, index) => readEntry(entry, `pages[${index}]`, readFile));
  const image: TdImage = { kind: 'pages', name: name as string, regions: entries.map(({ region }) => region) };
  for (const { region, isHob } of entries) {
    if (!isHob) continue;
    if (image.hob) refuse(region.name, 'is a second place for the TD HOB', 'one entry with "hob": true');
    image.hob = { gpa: region.gpa, size: region.size };
  }
  checkRegions(image.regions);
  return image;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text.replace(/^\ufeff/, ''));
  } catch (error) {
    return refuse('document', `is not JSON (${(error as Error).message})`, 'a JSON object');
  }
}

function object(value: unknown, where: string, keys: readonly string[]): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    refuse(where, 'is not an object', 'an object', value);
  const unknown = Object.keys(value as Json).find((key) => !keys.includes(key));
  if (unknown !== undefined) refuse(where, `has an unknown field "${unknown}"`, keys.join(', '));
  return value as Json;
}

const ENTRY_KEYS = ['gpa', 'file', 'offset', 'length', 'hex', 'base64', 'size', 'measure', 'add', 'hob'] as const;

function readEntry(value: unknown, where: string, readFile?: ReadFile): { region: TdRegion; isHob: boolean } {
  const entry = object(value, where, ENTRY_KEYS);
  const gpa = readGpa(entry['gpa'], `${where}.gpa`);
  const data = readContent(entry, where, readFile);
  const least = Math.ceil(data.byteLength / PAGE_SIZE) * PAGE_SIZE;
  const size = entry['size'] === undefined ? least : readNumber(entry['size'], `${where}.size`);
  if (size === 0) refuse(where, 'has neither content nor size', 'a file, hex, base64 or size');
  if (size % PAGE_SIZE !== 0) refuse(`${where}.size`, 'is not a multiple of 4096', 'whole pages', size);
  if (size < least) refuse(`${where}.size`, 'is less than the content', `at least ${least}`, size);
  const isHob = flag(entry, 'hob', where, false);
  const measure = flag(entry, 'measure', where, !isHob);
  const add = flag(entry, 'add', where, true);
  if (isHob && data.byteLength > 0) refuse(where, 'has content and is the place of the TD HOB', 'one of both');
  if (isHob && !add) refuse(where, 'is the place of the TD HOB and not added', '"add": true');
  if (!add && entry['measure'] === true)
    refuse(where, 'is measured and not added', '"measure": false with "add": false');
  if (!add && data.byteLength > 0) refuse(where, 'has content and is not added', 'a size only with "add": false');
  return { region: { name: where, gpa, size, data, measure: measure && add, add }, isHob };
}

function readGpa(value: unknown, where: string): bigint {
  const text = typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? `${value}` : value;
  if (typeof text !== 'string' || !/^(0x[0-9a-f]{1,16}|[0-9]{1,20})$/i.test(text)) {
    return refuse(where, 'is not an address', 'a string such as "0xfffff000"', value);
  }
  const gpa = BigInt(text);
  if (gpa % BigInt(PAGE_SIZE) !== 0n) refuse(where, 'is not page-aligned', 'a multiple of 0x1000', value);
  if (gpa >= PRIVATE_END) refuse(where, 'is not private memory of any TD', `below ${hex(PRIVATE_END)}`, value);
  return gpa;
}

function readNumber(value: unknown, where: string): number {
  const number = typeof value === 'string' && /^0x[0-9a-f]+$/i.test(value) ? Number(value) : value;
  if (typeof number === 'number' && Number.isSafeInteger(number) && number >= 0) return number;
  return refuse(where, 'is not a number of bytes', 'an integer of 0 or more', value);
}

function flag(entry: Json, key: string, where: string, fallback: boolean): boolean {
  const value = entry[key] ?? fallback;
  return typeof value === 'boolean' ? value : refuse(`${where}.${key}`, 'is not a flag', 'true or false', value);
}

function readContent(entry: Json, where: string, readFile?: ReadFile): Uint8Array {
  const kinds = ['file', 'hex', 'base64'].filter((key) => entry[key] !== undefined);
  if (kinds.length > 1) refuse(where, `has ${kinds.join(' and ')}`, 'one of them');
  const [kind] = kinds;
  if (kind !== 'file' && (entry['offset'] ?? entry['length']) !== undefined) {
    refuse(where, 'has offset or length without a file', 'a file');
  }
  if (kind === undefined) return new Uint8Array();
  const value = entry[kind];
  if (typeof value !== 'string') return refuse(`${where}.${kind}`, 'is not text', 'a string', value);
  if (kind === 'file') return readPart(entry, value, where, readFile);
  const digits = value.replace(/\s/g, '');
  const valid = kind === 'hex' ? /^([0-9a-f]{2})*$/i : /^([a-z0-9+/]{4})*([a-z0-9+/]{2}==|[a-z0-9+/]{3}=)?$/i;
  if (!valid.test(digits))
    refuse(`${where}.${kind}`, `is not ${kind}`, kind === 'hex' ? 'pairs of hexadecimal digits' : 'base64', value);
  return new Uint8Array(Buffer.from(digits, kind as 'hex' | 'base64'));
}

function readPart(entry: Json, path: string, where: string, readFile?: ReadFile): Uint8Array {
  if (!readFile)
    return refuse(
      `${where}.file`,
      'cannot be read from here',
      'hex or base64, or a page list loaded from a file',
      path,
    );
  let bytes: Uint8Array;
  try {
    bytes = readFile(path);
  } catch (error) {
    return refuse(`${where}.file`, `cannot be read (${(error as Error).message})`, 'a readable file', path);
  }
  const offset = entry['offset'] === undefined ? 0 : readNumber(entry['offset'], `${where}.offset`);
  const length =
    entry['length'] === undefined
      ? Math.max(bytes.byteLength - offset, 0)
      : readNumber(entry['length'], `${where}.length`);
  if (offset + length > bytes.byteLength || length === 0) {
    refuse(`${where}.file`, 'has no such bytes', `${length || 1} bytes at ${offset}`, `${bytes.byteLength} bytes`);
  }
  return bytes.subarray(offset, offset + length);
}

function checkRegions(regions: readonly TdRegion[]): void {
  const sorted = [...regions].sort((a, b) => (a.gpa < b.gpa ? -1 : a.gpa > b.gpa ? 1 : 0));
  for (const [index, region] of sorted.entries()) {
    const end = region.gpa + BigInt(region.size);
    const next = sorted[index + 1];
    if (end > PRIVATE_END)
      refuse(region.name, 'reaches past private memory', `an end at ${hex(PRIVATE_END)} or before`, hex(end));
    if (next && next.gpa < end)
      refuse(next.name, `shares pages with ${region.name}`, 'pages of its own', hex(next.gpa));
  }
  const added = regions.reduce((sum, region) => sum + (region.add ? BigInt(region.size) : 0n), 0n);
  if (added > MAX_ADDED) refuse('pages', 'add up to too much', `at most ${hex(MAX_ADDED)} bytes`, hex(added));
}
