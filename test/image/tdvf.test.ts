import { describe, expect, it } from 'vitest';
import { ImageError, loadImage, parseTdvf } from '../../src/image/index.js';
import {
  BFV,
  buildTdvf,
  descriptorOf,
  entryOf,
  HOB,
  type SectionSpec,
  SIZE,
  type TdvfSpec,
  TEMP,
} from './build-tdvf.js';

function refusal(image: Uint8Array): ImageError {
  try {
    parseTdvf(image);
  } catch (error) {
    expect(error).toBeInstanceOf(ImageError);
    return error as ImageError;
  }
  throw new Error('the image was accepted');
}

describe('finding the TDVF metadata', () => {
  it('takes the GUID table, past entries of other kinds', () => {
    const image = parseTdvf(buildTdvf());
    expect(image).toMatchObject({ foundBy: 'guid-table', descriptorOffset: descriptorOf(SIZE) });
    expect(image.sections.map(({ name }) => name)).toEqual(['BFV', 'TD_HOB', 'TempMem']);
  });

  it('takes the legacy offset, which counts from the start, where there is no GUID table', () => {
    const image = parseTdvf(buildTdvf({ pointer: 'legacy-offset' }));
    expect(image).toMatchObject({ foundBy: 'legacy-offset', pointerOffset: SIZE - 0x20 });
  });

  it('prefers the GUID table where there are both', () => {
    expect(parseTdvf(buildTdvf({ pointer: 'both' })).foundBy).toBe('guid-table');
  });

  it('says where it looked when there is neither', () => {
    const error = refusal(buildTdvf({ pointer: 'none' }));
    expect(error.message).toBe(
      'No TDVF metadata: there is no TDX entry in a GUID table, and the legacy offset leads to no descriptor at file ' +
        "offset 0xffe0: found 0x90909090, expected the offset of 'TDVF'. Use an image built for TDX, such as OVMF.fd of " +
        'the Debian package ovmf or OVMF.inteltdx.fd; OVMF_CODE files without TDX support lack it.',
    );
  });

  it.each([0, 1, 63])('refuses a file of %i bytes', (size) => {
    expect(refusal(new Uint8Array(size))).toMatchObject({ rule: 'tdvf.metadata', found: `${size} bytes` });
  });

  it('refuses a GUID table longer than the file', () => {
    const image = buildTdvf();
    image.writeUInt16LE(0xffff, SIZE - 0x32);
    expect(refusal(image)).toMatchObject({ rule: 'tdvf.guid-table', offset: SIZE - 0x32, found: '65535' });
  });

  it('refuses a GUID table entry of length 0 instead of walking for ever', () => {
    const image = buildTdvf();
    image.writeUInt16LE(0, SIZE - 0x32 - 18);
    expect(refusal(image)).toMatchObject({ rule: 'tdvf.guid-table', offset: SIZE - 0x32 - 18, found: '0' });
  });

  it('refuses a GUID table entry longer than what is left of the table', () => {
    const image = buildTdvf();
    image.writeUInt16LE(18 + 22 + 21 + 22, SIZE - 0x32 - 18);
    expect(refusal(image)).toMatchObject({ rule: 'tdvf.guid-table', found: '83', expected: '18 to 64' });
  });

  it('refuses an offset that leads out of the file', () => {
    const image = buildTdvf();
    const pointer = parseTdvf(image).pointerOffset;
    image.writeUInt32LE(0xffffffff, pointer);
    expect(refusal(image)).toMatchObject({ rule: 'tdvf.metadata', offset: pointer });
  });

  it.each<[string, TdvfSpec, string, number, string]>([
    ['another version', { version: 2 }, 'tdvf.version', 8, '2'],
    ['a length that does not match the count', { length: 111 }, 'tdvf.length', 4, '111'],
    ['no section', { sections: [] }, 'tdvf.length', 12, '0'],
    ['more sections than the file has room for', { count: 0x08000000 }, 'tdvf.length', 12, '134217728'],
  ])('refuses a descriptor with %s', (_what, spec, rule, field, found) => {
    expect(refusal(buildTdvf(spec))).toMatchObject({ rule, offset: descriptorOf(SIZE) + field, found });
  });
});

it('an image is bytes', () => {
  const act = () => loadImage('OVMF.fd' as unknown as Uint8Array);
  expect(act).toThrow(new TypeError('an image is a Uint8Array: the bytes of the file'));
});

describe('every section is checked', () => {
  const [type, rawSize, gpa, memorySize, dataOffset, attributes] = [24, 4, 8, 16, 0, 28];
  const page = 0x1000n;
  const cfv: SectionSpec = { type: 1, rawSize: 0x1000, gpa: page, memorySize: page };
  it.each<[string, SectionSpec[], string, number, number]>([
    ['an unknown type', [BFV, { ...HOB, type: 9 }], 'section.type', 1, type],
    ['unknown attributes', [BFV, { ...HOB, attributes: 4 }], 'section.attributes', 1, attributes],
    ['pages that are measured but not added', [BFV, { ...TEMP, attributes: 3 }], 'section.attributes', 1, attributes],
    ['content that the VMM does not add', [BFV, { ...cfv, attributes: 2 }], 'section.attributes', 1, attributes],
    ['a TD HOB that the VMM does not add', [BFV, { ...HOB, attributes: 2 }], 'section.attributes', 1, attributes],
    ['a CFV without data', [BFV, { type: 1, gpa: page, memorySize: page }], 'section.raw-required', 1, rawSize],
    ['a TD_HOB with data', [BFV, { ...HOB, rawSize: 1 }], 'section.raw-forbidden', 1, rawSize],
    ['a TempMem with data', [BFV, { ...TEMP, rawSize: 1 }], 'section.raw-forbidden', 1, rawSize],
    ['data past the end of the file', [{ ...BFV, dataOffset: 1 }], 'section.raw-in-file', 0, dataOffset],
    ['data whose end overflows 32 bits', [{ ...BFV, dataOffset: 0xffffffff }], 'section.raw-in-file', 0, dataOffset],
    ['an unaligned address', [BFV, { ...TEMP, gpa: 0x10800n }], 'section.alignment', 1, gpa],
    ['an unaligned size', [BFV, { ...TEMP, memorySize: 0x801n }], 'section.alignment', 1, memorySize],
    ['no memory', [BFV, { ...TEMP, memorySize: 0n }], 'section.size', 1, memorySize],
    ['less memory than data', [{ ...BFV, gpa: 0xffff1000n, memorySize: 0xf000n }], 'section.size', 0, memorySize],
    ['an end past private memory', [BFV, { ...TEMP, gpa: (1n << 51n) - page }], 'section.range', 1, gpa],
    ['an end that overflows 64 bits', [BFV, { ...TEMP, gpa: (1n << 64n) - page }], 'section.range', 1, gpa],
    ['pages of another section', [BFV, TEMP, { ...HOB, gpa: 0x13000n }], 'section.overlap', 2, gpa],
    [
      'pages inside a larger section',
      [BFV, { ...TEMP, memorySize: 0x9000n }, { ...HOB, gpa: 0x11000n }],
      'section.overlap',
      2,
      gpa,
    ],
    ['the place of a second TD HOB', [BFV, HOB, { ...HOB, gpa: 0xa000n }], 'section.one-hob', 2, type],
    ['no BFV', [HOB, TEMP], 'tdvf.reset-vector', 0, type],
    ['a BFV that does not end at 4 GiB', [{ ...BFV, gpa: 0xfffe0000n }], 'tdvf.reset-vector', 0, gpa],
    ['a BFV whose data ends before', [{ ...BFV, rawSize: 0xf000 }], 'tdvf.reset-vector', 0, gpa],
    ['a TD_INFO with an address', [BFV, { type: 7, rawSize: 16, gpa: page }], 'section.no-memory', 1, gpa],
    [
      'more memory than an image ever adds',
      [BFV, { ...TEMP, memorySize: 1n << 40n, gpa: 1n << 40n }],
      'tdvf.added-size',
      1,
      memorySize,
    ],
  ])('%s is refused', (_what, sections, rule, index, field) => {
    const error = refusal(buildTdvf({ sections }));
    expect(error).toMatchObject({ code: 'ERR_TD_IMAGE', rule, offset: entryOf(SIZE, index) + field });
    expect(error.found).toBeTruthy();
    expect(error.expected).toBeTruthy();
    expect(error.fix).toBeTruthy();
  });

  it('the message tells the section, the place, what was found and expected, and what to do', () => {
    const error = refusal(buildTdvf({ sections: [BFV, { ...TEMP, gpa: 0x10800n }] }));
    expect(error.message).toBe(
      'section 1 (TempMem): MemoryAddress is not page-aligned at file offset 0xf838: found 0x10800, expected a multiple ' +
        'of 0x1000. TDs are built of 4 KiB pages: align the section.',
    );
  });

  it('neighbours may touch', () => {
    const sections = [BFV, TEMP, { ...HOB, gpa: 0x14000n }];
    expect(parseTdvf(buildTdvf({ sections })).sections).toHaveLength(3);
  });
});

describe('what a launcher gets', () => {
  const cfv: SectionSpec = { type: 1, dataOffset: 0x100, rawSize: 0x20, gpa: 0x20000n, memorySize: 0x2000n };
  const perm: SectionSpec = { type: 4, gpa: 0x100000n, memorySize: 0x100000n, attributes: 2 };
  const info: SectionSpec = { type: 7, dataOffset: 0x200, rawSize: 0x40 };
  const bytes = buildTdvf({ sections: [TEMP, cfv, BFV, HOB, perm, info] });
  const image = loadImage(bytes, { name: 'test' });

  it('regions in metadata order, without those that are no memory', () => {
    expect(image).toMatchObject({ kind: 'tdvf', name: 'test', hob: { gpa: 0x9000n, size: 0x1000 } });
    expect(image.regions.map(({ name }) => name)).toEqual([
      'section 0 (TempMem)',
      'section 1 (CFV)',
      'section 2 (BFV)',
      'section 3 (TD_HOB)',
      'section 4 (PermMem)',
    ]);
  });

  it('data from the file, what is measured and what is added', () => {
    const [temp, volume, firmware, , permanent] = image.regions;
    expect(temp).toMatchObject({ gpa: 0x10000n, size: 0x4000, measure: false, add: true });
    expect(temp!.data).toHaveLength(0);
    expect(volume).toMatchObject({ gpa: 0x20000n, size: 0x2000, measure: false, add: true });
    expect(Buffer.from(volume!.data)).toEqual(bytes.subarray(0x100, 0x120));
    expect(firmware).toMatchObject({ gpa: 0xffff0000n, size: 0x10000, measure: true, add: true });
    expect(permanent).toMatchObject({ gpa: 0x100000n, size: 0x100000, measure: false, add: false });
  });
});
