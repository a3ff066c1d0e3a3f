// The TD HOB: how the VMM tells the firmware what memory there is. A list of hand-off blocks (UEFI Platform Initialization
// specification, volume 3), laid out as QEMU's hw/i386/tdvf-hob.c does.
import { hex } from './bytes.js';
import { FOUR_GIB } from './check-sections.js';
import { ImageError } from './errors.js';
import { Q35_LOW_LIMIT, type RamRange } from './ram.js';
import { IMAGE_RULES } from './rules.js';
import type { TdImage, TdRegion } from './td-image.js';

const HANDOFF = { type: 1, length: 0x38, version: 9, endOfHobList: 0x30 };
const RESOURCE = { type: 3, length: 0x30, resourceType: 0x18, attribute: 0x1c, start: 0x20, size: 0x28 };
const END = { type: 0xffff, length: 8 };

const EFI_RESOURCE_SYSTEM_MEMORY = 0;
const EFI_RESOURCE_MEMORY_UNACCEPTED = 7;
// PRESENT | INITIALIZED | TESTED: QEMU sets the same for both types.
const ATTRIBUTES = 7;

export interface TdHobOptions {
  /** Where the HOB will be in the TD. */
  gpa: bigint;
  /** Bytes there; the result is that long. */
  size: number;
  /** RAM of the TD, see {@link ramLayout}. */
  ram: readonly { gpa: bigint; size: bigint | number }[];
  /** The regions of the image: those that the VMM adds and that lie in RAM are already accepted. */
  regions: readonly Pick<TdRegion, 'name' | 'gpa' | 'size' | 'data' | 'add'>[];
}

interface MemoryRange extends RamRange {
  added: boolean;
}

/**
 * The bytes of the TD HOB, padded with zeros to `size`: hand-off table, one resource descriptor per range of memory sorted
 * by address (added: SYSTEM_MEMORY, the rest: UNACCEPTED), end. @throws ImageError if it does not fit, saying how much it
 * needs, or if a region that needs RAM is not in it.
 */
export function buildTdHob({ gpa, size, ram, regions }: TdHobOptions): Uint8Array {
  const ranges = memoryMap(ram, regions);
  const needed = HANDOFF.length + RESOURCE.length * ranges.length + END.length;
  if (needed > size) {
    const { id, fix } = IMAGE_RULES['hob.too-small'];
    const what = `The TD HOB at ${hex(gpa)} does not fit its section: ${ranges.length} ranges of memory`;
    throw new ImageError({ rule: id, what, found: `${size} bytes`, expected: `at least ${needed} bytes`, fix });
  }
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  const header = (at: number, { type, length }: { type: number; length: number }) => {
    view.setUint16(at, type, true);
    view.setUint16(at + 2, length, true);
  };
  header(0, HANDOFF);
  view.setUint32(8, HANDOFF.version, true);
  view.setBigUint64(HANDOFF.endOfHobList, gpa + BigInt(needed), true);
  let at = HANDOFF.length;
  for (const range of ranges) {
    header(at, RESOURCE);
    view.setUint32(
      at + RESOURCE.resourceType,
      range.added ? EFI_RESOURCE_SYSTEM_MEMORY : EFI_RESOURCE_MEMORY_UNACCEPTED,
      true,
    );
    view.setUint32(at + RESOURCE.attribute, ATTRIBUTES, true);
    view.setBigUint64(at + RESOURCE.start, range.gpa, true);
    view.setBigUint64(at + RESOURCE.size, range.size, true);
    at += RESOURCE.length;
  }
  header(at, END);
  return bytes;
}

/** The image with the TD HOB as the content of its place; the image itself where it has none. */
export function withHob(image: TdImage, hob: Uint8Array): TdImage {
  const regions = image.regions.map((region) => (region.gpa === image.hob?.gpa ? { ...region, data: hob } : region));
  return { ...image, regions };
}

/** RAM cut along the added regions, sorted by address. Neighbours are not merged, as in QEMU. */
function memoryMap(ram: TdHobOptions['ram'], regions: TdHobOptions['regions']): MemoryRange[] {
  let ranges: MemoryRange[] = ram.map((range) => ({ gpa: range.gpa, size: BigInt(range.size), added: false }));
  for (const region of regions) {
    if (region.add) ranges = cut(ranges, region);
  }
  return ranges.sort((a, b) => (a.gpa < b.gpa ? -1 : a.gpa > b.gpa ? 1 : 0));
}

function cut(ranges: readonly MemoryRange[], region: TdHobOptions['regions'][number]): MemoryRange[] {
  const [start, end] = [region.gpa, region.gpa + BigInt(region.size)];
  const touched = ranges.filter((range) => start < range.gpa + range.size && range.gpa < end);
  const [range] = touched;
  if (!range) {
    // The firmware's own place below 4 GiB is not RAM; elsewhere a region without content was meant to be.
    const inHole = end > Q35_LOW_LIMIT && end <= FOUR_GIB;
    if (inHole || region.data.byteLength > 0) return [...ranges];
    throw outside(region, ranges);
  }
  if (touched.length > 1 || start < range.gpa || end > range.gpa + range.size) throw outside(region, ranges);
  const rest = [
    { gpa: range.gpa, size: start - range.gpa, added: range.added },
    { gpa: end, size: range.gpa + range.size - end, added: range.added },
  ].filter((part) => part.size > 0n);
  return [...ranges.filter((other) => other !== range), { gpa: start, size: end - start, added: true }, ...rest];
}

function outside(region: TdHobOptions['regions'][number], ranges: readonly MemoryRange[]): ImageError {
  const { id, fix } = IMAGE_RULES['hob.ram'];
  const span = (gpa: bigint, size: bigint) => `${hex(gpa)} to ${hex(gpa + size)}`;
  return new ImageError({
    rule: id,
    what: `${region.name} does not lie in one range of RAM`,
    found: span(region.gpa, BigInt(region.size)),
    expected: `inside ${ranges.map((range) => span(range.gpa, range.size)).join(', ') || 'RAM (there is none)'}`,
    fix,
  });
}
