import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ImageError, loadImage, loadImageFile, parsePageList } from '../../src/image/index.js';

const text = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const files: Record<string, Uint8Array> = { 'boot.bin': Uint8Array.from({ length: 5000 }, (_, i) => i & 255) };
const readFile = (path: string) => {
  const bytes = files[path];
  if (!bytes) throw new Error('no such file');
  return bytes;
};

describe('a page list', () => {
  it('makes an image of pages, in their order, measured unless it says otherwise', () => {
    const list = {
      name: 'hello',
      pages: [
        { gpa: '0xfffff000', hex: 'b8 00 10 00 00 ff e0' },
        { gpa: 8192, size: 16384, measure: false },
        { gpa: '0x10000', base64: 'aGk=', size: '0x2000' },
        { gpa: '0x9000', size: 4096, hob: true },
        { gpa: '0x100000', size: 0x100000, add: false },
      ],
    };
    const image = loadImage(text(list));
    expect(image).toMatchObject({ kind: 'pages', name: 'hello', hob: { gpa: 0x9000n, size: 4096 } });
    expect(image.regions.map(({ gpa, size, data, measure, add }) => [gpa, size, [...data], measure, add])).toEqual([
      [0xfffff000n, 4096, [0xb8, 0, 0x10, 0, 0, 0xff, 0xe0], true, true],
      [8192n, 16384, [], false, true],
      [0x10000n, 8192, [0x68, 0x69], true, true],
      [0x9000n, 4096, [], false, true],
      [0x100000n, 0x100000, [], false, false],
    ]);
  });

  it('takes content from files, whole or in part, rounded up to pages', () => {
    const pages = [
      { gpa: 0, file: 'boot.bin' },
      { gpa: '0x4000', file: 'boot.bin', offset: 4998, length: 1 },
      { gpa: '0x8000', file: 'boot.bin', offset: '0x1000' },
    ];
    const { regions } = parsePageList({ pages }, readFile);
    expect(regions.map(({ size, data }) => [size, data.length, data[0]])).toEqual([
      [8192, 5000, 0],
      [4096, 1, 4998 & 255],
      [4096, 904, 0],
    ]);
  });

  it('on disk names files relative to itself', () => {
    const folder = mkdtempSync(join(tmpdir(), 'page-list-'));
    try {
      writeFileSync(join(folder, 'code'), 'abc');
      writeFileSync(join(folder, 'td.json'), ` \n${JSON.stringify({ pages: [{ gpa: '0xfffff000', file: 'code' }] })}`);
      const image = loadImageFile(join(folder, 'td.json'));
      expect(image.name).toBe('td.json');
      expect(Buffer.from(image.regions[0]!.data).toString()).toBe('abc');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  const page = { gpa: '0x1000', hex: '00' };
  it.each<[string, unknown, string]>([
    ['text that is not JSON', '{ "pages": [', 'page list: document is not JSON'],
    ['no pages', { pages: [] }, 'page list: pages is missing or empty'],
    ['an unknown field', { pages: [], pagse: 1 }, 'page list: document has an unknown field "pagse"'],
    ['an entry that is not an object', { pages: [7] }, 'page list: pages[0] is not an object'],
    ['a misspelt field', { pages: [{ ...page, mesure: true }] }, 'page list: pages[0] has an unknown field "mesure"'],
    ['no address', { pages: [{ hex: '00' }] }, 'page list: pages[0].gpa is not an address'],
    ['an address that is not one', { pages: [{ ...page, gpa: 'top' }] }, "found 'top'"],
    ['a negative address', { pages: [{ ...page, gpa: -4096 }] }, 'found -4096'],
    ['an unaligned address', { pages: [{ ...page, gpa: '0x1001' }] }, 'pages[0].gpa is not page-aligned'],
    [
      'a shared address',
      { pages: [{ ...page, gpa: '0x8000000000000' }] },
      'pages[0].gpa is not private memory of any TD',
    ],
    [
      'an end that is shared',
      { pages: [{ gpa: '0x7fffffffff000', size: 8192 }] },
      'pages[0] reaches past private memory',
    ],
    ['two contents', { pages: [{ ...page, file: 'boot.bin' }] }, 'pages[0] has file and hex'],
    ['half a byte', { pages: [{ ...page, hex: '0' }] }, 'pages[0].hex is not hex'],
    ['broken base64', { pages: [{ gpa: 0, base64: 'a' }] }, 'pages[0].base64 is not base64'],
    ['no content and no size', { pages: [{ gpa: 0 }] }, 'pages[0] has neither content nor size'],
    ['a part of a page', { pages: [{ ...page, size: 100 }] }, 'pages[0].size is not a multiple of 4096'],
    [
      'less room than content',
      { pages: [{ gpa: 0, file: 'boot.bin', size: 4096 }] },
      'pages[0].size is less than the content',
    ],
    ['a flag that is text', { pages: [{ ...page, measure: 'no' }] }, 'pages[0].measure is not a flag'],
    ['a file that is not there', { pages: [{ gpa: 0, file: 'x' }] }, 'pages[0].file cannot be read (no such file)'],
    [
      'bytes past the end of a file',
      { pages: [{ gpa: 0, file: 'boot.bin', offset: 5000 }] },
      'pages[0].file has no such bytes',
    ],
    ['an offset without a file', { pages: [{ ...page, offset: 1 }] }, 'pages[0] has offset or length without a file'],
    ['pages twice', { pages: [{ gpa: 0, size: 8192 }, page] }, 'page list: pages[1] shares pages with pages[0]'],
    [
      'two places of the HOB',
      { pages: [0, 4096].map((gpa) => ({ gpa, size: 4096, hob: true })) },
      'pages[1] is a second place',
    ],
    ['a HOB with content', { pages: [{ ...page, hob: true }] }, 'pages[0] has content and is the place of the TD HOB'],
    [
      'measured pages that are not added',
      { pages: [{ gpa: 0, size: 4096, add: false, measure: true }] },
      'is measured and not added',
    ],
    ['content that is not added', { pages: [{ ...page, add: false }] }, 'pages[0] has content and is not added'],
    ['too much', { pages: [{ gpa: 0, size: 2 ** 33 }] }, 'page list: pages add up to too much'],
  ])('with %s is refused', (_what, list, message) => {
    const act = () => parsePageList(list, readFile);
    expect(act).toThrow(ImageError);
    expect(act).toThrow(message);
  });

  it('that names files needs to know where they are', () => {
    const list = text({ pages: [{ gpa: 0, file: 'boot.bin' }] });
    expect(() => loadImage(list)).toThrow(/pages\[0\]\.file cannot be read from here: found 'boot.bin'/);
  });
});
