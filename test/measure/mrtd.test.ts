import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bundledImage, ImageError, type TdImage, type TdRegion, withHob } from '../../src/image/index.js';
import { type MeasureStep, MrtdHasher, measureTd } from '../../src/measure/index.js';
import { mrtdByDefinition } from './independent.js';

const region = (init: Partial<TdRegion>): TdRegion => ({
  name: 'test',
  gpa: 0n,
  size: 4096,
  data: new Uint8Array(),
  measure: true,
  add: true,
  ...init,
});
const imageOf = (...regions: TdRegion[]): TdImage => ({ kind: 'pages', name: 'test', regions });
const definition = (image: TdImage, order: 'one-pass' | 'two-pass') =>
  mrtdByDefinition(
    image.regions.filter(({ add }) => add).map((pages) => ({ ...pages, gpa: Number(pages.gpa) })),
    order,
  );

describe('MRTD of an image', () => {
  it('of nothing is SHA-384 of nothing', () => {
    const mrtd = createHash('sha384').digest('hex');
    expect(measureTd(imageOf())).toEqual({ mrtd, pages: 0, measuredBytes: 0, hashedBytes: 0 });
  });

  it.each(['one-pass', 'two-pass'] as const)('of the minimal TD is as defined: %s', (order) => {
    const image = bundledImage();
    expect(measureTd(image, { order }).mrtd).toBe(definition(image, order));
  });

  it('counts pages, measured bytes and hashed bytes', () => {
    // 16 measured pages: 16 * (128 + 16 * (128 + 256)); 5 others: their ADD block only
    const expected = { pages: 21, measuredBytes: 65536, hashedBytes: 16 * 6272 + 5 * 128 };
    expect(measureTd(bundledImage())).toMatchObject(expected);
    expect(measureTd(bundledImage(), { order: 'two-pass' })).toMatchObject(expected);
  });

  it.each(['one-pass', 'two-pass'] as const)('agrees with its definition whatever the regions are: %s', (order) => {
    const regions = fc.array(
      fc.record({
        gpa: fc.bigInt({ min: 0n, max: (1n << 39n) - 41n }).map((page) => page << 12n),
        size: fc.integer({ min: 1, max: 40 }).map((pages) => pages * 4096),
        data: fc.tuple(fc.uint8Array({ maxLength: 5000 }), fc.nat(7)).map(([bytes, skip]) => bytes.subarray(skip)),
        measure: fc.boolean(),
        add: fc.boolean(),
      }),
      { maxLength: 6 },
    );
    fc.assert(
      fc.property(regions, (list) => {
        const image = imageOf(...list.map((init) => region({ ...init, data: init.data.subarray(0, init.size) })));
        expect(measureTd(image, { order }).mrtd).toBe(definition(image, order));
      }),
      { numRuns: 60, seed: 384 },
    );
  });

  it('a short page is followed by zeros, also after a full one', () => {
    const full = new Uint8Array(4096).fill(0xff);
    const short = imageOf(region({ data: full }), region({ gpa: 0x1000n, data: full.subarray(0, 300) }));
    expect(measureTd(short).mrtd).toBe(definition(short, 'one-pass'));
  });

  it('unmeasured content does not matter, its address does', () => {
    const mrtd = (init: Partial<TdRegion>) => measureTd(imageOf(region({ measure: false, ...init }))).mrtd;
    expect(mrtd({ data: Uint8Array.of(1) })).toBe(mrtd({}));
    expect(mrtd({ gpa: 0x1000n })).not.toBe(mrtd({}));
  });

  it('pages that the VMM does not add do not count', () => {
    const accepted = region({ gpa: 0x100000n, size: 1 << 20, add: false, measure: false });
    expect(measureTd(imageOf(region({}), accepted))).toEqual(measureTd(imageOf(region({}))));
  });

  it('logs every step on request, in order', () => {
    const calls = (order: 'one-pass' | 'two-pass') => {
      const steps: MeasureStep[] = [];
      measureTd(
        imageOf(region({ gpa: 0x1000n, size: 8192 }), region({ gpa: 0x8000n, measure: false, name: 'stack' })),
        {
          order,
          log: (step) => steps.push(step),
        },
      );
      return steps.map(({ call, gpa, region: name }) => `${call} 0x${gpa.toString(16)} ${name}`);
    };
    const extends16 = (page: number) =>
      Array.from({ length: 16 }, (_, i) => `TDH.MR.EXTEND 0x${(page + i * 256).toString(16)} test`);
    const last = 'TDH.MEM.PAGE.ADD 0x8000 stack';
    const [add1, add2] = ['TDH.MEM.PAGE.ADD 0x1000 test', 'TDH.MEM.PAGE.ADD 0x2000 test'];
    expect(calls('one-pass')).toEqual([add1, ...extends16(0x1000), add2, ...extends16(0x2000), last]);
    expect(calls('two-pass')).toEqual([add1, add2, ...extends16(0x1000), ...extends16(0x2000), last]);
  });

  it('a measured TD HOB has to be given', () => {
    const image = { ...imageOf(region({ gpa: 0x9000n })), hob: { gpa: 0x9000n, size: 4096 } };
    const hob = Uint8Array.from({ length: 100 }, (_, i) => i);
    expect(() => measureTd(image)).toThrow(ImageError);
    expect(() => measureTd(image)).toThrow(/test is measured: found no TD HOB/);
    expect(() => measureTd(image, { hob: new Uint8Array(5000) })).toThrow(ImageError);
    const same = imageOf(region({ gpa: 0x9000n, data: hob }));
    expect(measureTd(image, { hob }).mrtd).toBe(measureTd(same).mrtd);
    expect(measureTd(withHob(image, hob)).mrtd).toBe(measureTd(same).mrtd);
  });

  it.each<[string, Partial<TdRegion>]>([
    ['an unaligned address', { gpa: 0x800n }],
    ['a shared address', { gpa: 1n << 51n }],
    ['no pages', { size: 0 }],
    ['half a page', { size: 6144 }],
    ['more content than memory', { data: new Uint8Array(4097) }],
  ])('a region with %s is refused', (_what, init) => {
    expect(() => measureTd(imageOf(region(init)))).toThrow(RangeError);
  });

  it('an unmeasured TD HOB does not matter', () => {
    const image = bundledImage();
    expect(measureTd(image, { hob: new Uint8Array(4096).fill(1) })).toEqual(measureTd(image));
  });
});

describe('MrtdHasher, step by step', () => {
  it('gives what whole pages give', () => {
    const page = Uint8Array.from({ length: 4096 }, (_, i) => i * 7);
    const hasher = new MrtdHasher();
    hasher.addPage(0x1000n);
    for (let chunk = 0; chunk < 4096; chunk += 256) hasher.extend(0x1000 + chunk, page.subarray(chunk, chunk + 256));
    const image = imageOf(region({ gpa: 0x1000n, data: page }));
    expect(hasher.finalize()).toBe(measureTd(image).mrtd);
    expect(hasher.hashedBytes).toBe(6272);
  });

  it('extends by 256 bytes, no more and no less', () => {
    const hasher = new MrtdHasher();
    expect(() => hasher.extend(0n, new Uint8Array(255))).toThrow(RangeError);
  });
});
