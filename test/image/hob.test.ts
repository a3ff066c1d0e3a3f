import { describe, expect, it } from 'vitest';
import { buildTdHob, ImageError, loadImage, ramLayout } from '../../src/image/index.js';
import { BFV, buildTdvf, type SectionSpec } from './build-tdvf.js';

const MIB = 1n << 20n;
const GIB = 1n << 30n;

/** Reads a HOB list as firmware does, from the layouts of the PI specification. */
function readHob(bytes: Uint8Array, gpa: bigint) {
  const hob = Buffer.from(bytes);
  const resources: [start: string, end: string, type: number, attributes: number][] = [];
  let at = 0;
  const types: number[] = [];
  for (;;) {
    const type = hob.readUInt16LE(at);
    const length = hob.readUInt16LE(at + 2);
    expect(hob.readUInt32LE(at + 4)).toBe(0);
    types.push(type);
    if (type === 3) {
      expect(length).toBe(0x30);
      expect(hob.subarray(at + 8, at + 24).every((byte) => byte === 0)).toBe(true);
      const start = hob.readBigUInt64LE(at + 32);
      const end = start + hob.readBigUInt64LE(at + 40);
      resources.push([start.toString(16), end.toString(16), hob.readUInt32LE(at + 24), hob.readUInt32LE(at + 28)]);
    }
    at += length;
    if (type === 0xffff) break;
  }
  const handoff = { length: hob.readUInt16LE(2), version: hob.readUInt32LE(8), bootMode: hob.readUInt32LE(12) };
  const memory = [16, 24, 32, 40].map((offset) => hob.readBigUInt64LE(offset));
  const rest = hob.subarray(at);
  return { types, resources, handoff, memory, endOfHobList: hob.readBigUInt64LE(48) - gpa, at, rest };
}

// The sections of Debian's OVMF.fd.
const ovmf: SectionSpec[] = [
  BFV,
  { type: 3, gpa: 0x810000n, memorySize: 0x10000n },
  { type: 3, gpa: 0x80b000n, memorySize: 0x2000n },
  { type: 2, gpa: 0x809000n, memorySize: 0x2000n },
  { type: 3, gpa: 0x800000n, memorySize: 0x6000n },
];
const image = loadImage(buildTdvf({ sections: ovmf }));
const place = { gpa: 0x809000n, size: 0x2000, regions: image.regions };

describe('RAM, as q35 lays it out', () => {
  it('is one range from 0 below 0xb0000000 bytes', () => {
    expect(ramLayout(512n * MIB)).toEqual([{ gpa: 0n, size: 512n * MIB }]);
    expect(ramLayout(0xaffff000)).toEqual([{ gpa: 0n, size: 0xaffff000n }]);
  });

  it('is split at 2 GiB from 0xb0000000 bytes on, the rest above 4 GiB', () => {
    expect(ramLayout(0xb0000000)).toEqual([
      { gpa: 0n, size: 2n * GIB },
      { gpa: 4n * GIB, size: 0x30000000n },
    ]);
    expect(ramLayout(64n * GIB)[1]).toEqual({ gpa: 4n * GIB, size: 62n * GIB });
  });

  it.each([0n, -4096n, 4095n])('of %d bytes is refused', (size) => {
    expect(() => ramLayout(size)).toThrow(RangeError);
  });
});

describe('the TD HOB', () => {
  const hob = readHob(buildTdHob({ ...place, ram: ramLayout(3n * GIB) }), place.gpa);

  it('begins with the hand-off table, version 9, all but the end of the list left 0', () => {
    expect(hob.handoff).toEqual({ length: 0x38, version: 9, bootMode: 0 });
    expect(hob.memory).toEqual([0n, 0n, 0n, 0n]);
    expect(hob.types).toEqual([1, 3, 3, 3, 3, 3, 3, 3, 3, 3, 0xffff]);
  });

  it('describes all RAM sorted by address: added pages as system memory, the rest as unaccepted', () => {
    const [added, unaccepted, attributes] = [0, 7, 7];
    expect(hob.resources).toEqual([
      ['0', '800000', unaccepted, attributes],
      ['800000', '806000', added, attributes],
      ['806000', '809000', unaccepted, attributes],
      ['809000', '80b000', added, attributes],
      ['80b000', '80d000', added, attributes],
      ['80d000', '810000', unaccepted, attributes],
      ['810000', '820000', added, attributes],
      ['820000', '80000000', unaccepted, attributes],
      ['100000000', '140000000', unaccepted, attributes],
    ]);
  });

  it('says where the list ends, in guest memory, and fills its section with zeros', () => {
    expect(hob.endOfHobList).toBe(BigInt(hob.at));
    expect(hob.at).toBe(0x38 + 9 * 0x30 + 8);
    expect(hob.rest).toHaveLength(0x2000 - hob.at);
    expect(hob.rest.every((byte) => byte === 0)).toBe(true);
  });

  it('has eight resource descriptors for OVMF with RAM below 4 GiB only', () => {
    const { resources } = readHob(buildTdHob({ ...place, ram: ramLayout(2n * GIB) }), place.gpa);
    expect(resources).toHaveLength(8);
  });

  it('leaves pages that the TD accepts itself unaccepted', () => {
    const regions = image.regions.map((region) => ({ ...region, add: false }));
    const { resources } = readHob(buildTdHob({ ...place, regions, ram: ramLayout(GIB) }), place.gpa);
    expect(resources).toEqual([['0', '40000000', 7, 7]]);
  });

  it('that does not fit its section says how much it needs', () => {
    const act = () => buildTdHob({ ...place, size: 4 * 0x30, ram: ramLayout(GIB) });
    expect(act).toThrow(ImageError);
    expect(act).toThrow(
      'The TD HOB at 0x809000 does not fit its section: 8 ranges of memory: found 192 bytes, expected at least 448 bytes.',
    );
    expect(() => buildTdHob({ ...place, size: 448, ram: ramLayout(GIB) })).not.toThrow();
  });

  it.each([
    ['ends in', 0x810000n + 0x1000n],
    ['ends before', 4n * MIB],
  ])('is refused where RAM %s what the firmware needs', (_what, size) => {
    expect(() => buildTdHob({ ...place, ram: ramLayout(size) })).toThrow(
      /section 1 \(TempMem\) does not lie in one range of RAM: found 0x810000 to 0x820000, expected inside .* Give the TD more memory/,
    );
  });
});
