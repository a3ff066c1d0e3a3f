import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ImageError, lintTdvf, loadImage, parsePageList, parseTdvf } from '../../src/image/index.js';
import { measureTd } from '../../src/measure/index.js';
import { BFV, buildTdvf, descriptorOf, HOB, SIZE, TEMP } from './build-tdvf.js';

const good = buildTdvf({ pointer: 'both' });
const places = fc.oneof(
  fc.integer({ min: descriptorOf(SIZE), max: descriptorOf(SIZE) + 128 }),
  fc.integer({ min: SIZE - 0x80, max: SIZE - 1 }),
  fc.nat(SIZE - 1),
);
const edge = fc.constantFrom(0, 1, 2, 3, 4, 8, 9, 0x10, 0x7f, 0x80, 0xf0, 0xff);
const mutation = fc.array(fc.tuple(places, fc.oneof(edge, fc.nat(255))), { minLength: 1, maxLength: 12 });
const mutate = (changes: [number, number][]): Uint8Array => {
  const bytes = Uint8Array.from(good);
  for (const [at, value] of changes) bytes[at] = value;
  return bytes;
};

/** The value, or undefined where the image was refused as an image; anything else that is thrown fails the test. */
function unlessRefused<T>(act: () => T): T | undefined {
  try {
    return act();
  } catch (error) {
    expect(error).toBeInstanceOf(ImageError);
    return undefined;
  }
}

const options = { numRuns: 3000, seed: 20_251_122 };

describe('whatever is in a file', () => {
  it('damaged images are accepted or refused with an ImageError', () => {
    fc.assert(
      fc.property(mutation, (changes) => {
        unlessRefused(() => parseTdvf(mutate(changes)));
      }),
      options,
    );
  });

  it('so are truncated ones and arbitrary bytes', () => {
    const cut = fc.nat(SIZE).map((length) => good.subarray(SIZE - length));
    fc.assert(
      fc.property(fc.oneof(cut, fc.uint8Array({ maxLength: 400 })), (bytes) => {
        unlessRefused(() => loadImage(bytes));
      }),
      options,
    );
  });

  it('the linter accepts exactly what the parser accepts', () => {
    fc.assert(
      fc.property(mutation, (changes) => {
        const bytes = mutate(changes);
        const accepted = unlessRefused(() => parseTdvf(bytes)) !== undefined;
        expect(lintTdvf(bytes).findings.some(({ severity }) => severity === 'error')).toBe(!accepted);
      }),
      options,
    );
  });

  it('an accepted image has whole pages, disjoint, in private memory, with data that fits', () => {
    const address = fc.bigInt({ min: 0n, max: 0x200n }).map((page) => page << 12n);
    const size = fc.bigInt({ min: 0n, max: 0x20n }).map((pages) => pages << 12n);
    const section = fc.record({
      type: fc.constantFrom(1, 3, 3, 4, 5, 6),
      gpa: fc.oneof(address, fc.bigInt({ min: 0n, max: (1n << 64n) - 1n })),
      memorySize: fc.oneof(size, fc.bigInt({ min: 0n, max: (1n << 64n) - 1n })),
      dataOffset: fc.nat(SIZE),
      rawSize: fc.constantFrom(0, 0, 0, 1, 4096, 5000),
      attributes: fc.constantFrom(0, 0, 1, 2, 3),
    });
    let accepted = 0;
    fc.assert(
      fc.property(fc.array(section, { maxLength: 4 }), (others) => {
        const bytes = buildTdvf({ sections: [BFV, ...others] });
        const image = unlessRefused(() => loadImage(bytes));
        if (!image) return;
        accepted++;
        const sorted = [...image.regions].sort((a, b) => Number(a.gpa - b.gpa));
        for (const [index, region] of sorted.entries()) {
          expect([region.gpa % 4096n, region.size % 4096, region.size > 0]).toEqual([0n, 0, true]);
          expect(region.data.byteLength).toBeLessThanOrEqual(region.size);
          const end = region.gpa + BigInt(region.size);
          expect(end <= (sorted[index + 1]?.gpa ?? 1n << 51n)).toBe(true);
        }
        expect(measureTd(image).mrtd).toMatch(/^[0-9a-f]{96}$/);
      }),
      { ...options, numRuns: 1000 },
    );
    expect(accepted).toBeGreaterThan(50);
  });

  it('damaged page lists are accepted or refused with an ImageError', () => {
    const value = fc.oneof(fc.jsonValue(), fc.constantFrom('0x1000', '00', 4096, true, -1, 1.5), fc.bigInt());
    const entry = fc.dictionary(
      fc.constantFrom('gpa', 'hex', 'base64', 'file', 'size', 'offset', 'length', 'measure', 'add', 'hob'),
      value,
    );
    const list = fc.record({ pages: fc.oneof(fc.array(fc.oneof(entry, value), { maxLength: 4 }), value) });
    fc.assert(
      fc.property(fc.oneof(list, value, fc.string()), (json) => {
        unlessRefused(() => parsePageList(json, () => new Uint8Array(10)));
      }),
      options,
    );
  });

  it('the image that the mutations start from is good', () => {
    expect(loadImage(good).regions).toHaveLength([BFV, HOB, TEMP].length);
  });
});
