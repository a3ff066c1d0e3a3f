import { PRIVATE_END } from '../image/check-sections.js';
import { ImageError } from '../image/errors.js';
import { IMAGE_RULES } from '../image/rules.js';
import type { TdImage, TdRegion } from '../image/td-image.js';
import { PAGE_SIZE } from '../kvm/constants.js';
import { CHUNK, MrtdHasher } from './hasher.js';

/**
 * `one-pass`: Linux 6.16 and newer, each page added and measured before the next (KVM_TDX_INIT_MEM_REGION).
 * `two-pass`: kernels before, all pages of a region added, then all measured (KVM_MEMORY_MAPPING, KVM_TDX_EXTEND_MEMORY).
 */
export type MeasureOrder = 'one-pass' | 'two-pass';

/** One SEAMCALL that changes the measurement. */
export interface MeasureStep {
  call: 'TDH.MEM.PAGE.ADD' | 'TDH.MR.EXTEND';
  gpa: bigint;
  /** Name of the region. */
  region: string;
}

export interface MeasureOptions {
  /** Default `one-pass`. */
  order?: MeasureOrder;
  /** Called for every step, in order. There are 17 per measured page. */
  log?: (step: MeasureStep) => void;
  /** The TD HOB; needed only where the image measures its place, and does not have it as content (withHob). */
  hob?: Uint8Array;
}

export interface TdMeasurement {
  /** 96 hexadecimal digits. */
  mrtd: string;
  /** Pages added. */
  pages: number;
  /** Bytes of memory whose content is measured. */
  measuredBytes: number;
  /** Bytes that went through SHA-384. */
  hashedBytes: number;
}

/**
 * The MRTD of an image, exactly as the TDX module computes it when a launcher adds its regions in their order.
 * MRTD depends on nothing else: not on TD_PARAMS, not on the number of vCPUs.
 * @throws ImageError if the place of the HOB is measured and no `hob` is given. @throws RangeError for a region that is
 * not made of whole pages or has more content than memory; {@link loadImage} makes none.
 */
export function measureTd(image: TdImage, options: MeasureOptions = {}): TdMeasurement {
  const hasher = new MrtdHasher();
  let pages = 0;
  let measuredBytes = 0;
  for (const region of image.regions) {
    if (!region.add) continue;
    checkRegion(region);
    const count = region.size / PAGE_SIZE;
    const data = contentOf(image, region, options.hob);
    pages += count;
    if (region.measure) measuredBytes += region.size;
    const twoPass = options.order === 'two-pass';
    if (options.log) logRegion(region, twoPass, options.log);
    const gpa = Number(region.gpa);
    if (region.measure && !twoPass) {
      hasher.addAndExtendPages(gpa, count, data);
    } else {
      hasher.addPages(gpa, count);
      if (region.measure) hasher.extendPages(gpa, count, data);
    }
  }
  return { mrtd: hasher.finalize(), pages, measuredBytes, hashedBytes: hasher.hashedBytes };
}

function checkRegion({ name, gpa, size, data }: TdRegion): void {
  const page = BigInt(PAGE_SIZE);
  if (gpa < 0n || gpa % page !== 0n || gpa + BigInt(size) > PRIVATE_END) {
    throw new RangeError(`${name}: gpa 0x${gpa.toString(16)} is not a page of private memory`);
  }
  if (size <= 0 || size % PAGE_SIZE !== 0 || data.byteLength > size) {
    throw new RangeError(`${name}: size ${size} is not whole pages with room for ${data.byteLength} bytes of content`);
  }
}

function contentOf(image: TdImage, region: TdRegion, hob: Uint8Array | undefined): Uint8Array {
  const isMeasuredHob = region.measure && region.gpa === image.hob?.gpa;
  if (!isMeasuredHob || (!hob && region.data.byteLength > 0)) return region.data;
  if (hob && hob.byteLength <= region.size) return hob;
  const { id, fix } = IMAGE_RULES['measure.hob'];
  const found = hob ? `a TD HOB of ${hob.byteLength} bytes` : 'no TD HOB';
  throw new ImageError({
    rule: id,
    what: `${region.name} is measured`,
    found,
    expected: `one of at most ${region.size} bytes`,
    fix,
  });
}

function logRegion(region: TdRegion, twoPass: boolean, log: (step: MeasureStep) => void): void {
  const end = region.gpa + BigInt(region.size);
  const add = (gpa: bigint) => log({ call: 'TDH.MEM.PAGE.ADD', gpa, region: region.name });
  const extend = (page: bigint) => {
    for (let gpa = page; gpa < page + BigInt(PAGE_SIZE); gpa += BigInt(CHUNK)) {
      log({ call: 'TDH.MR.EXTEND', gpa, region: region.name });
    }
  };
  const pages = function* () {
    for (let gpa = region.gpa; gpa < end; gpa += BigInt(PAGE_SIZE)) yield gpa;
  };
  for (const gpa of pages()) {
    add(gpa);
    if (region.measure && !twoPass) extend(gpa);
  }
  if (region.measure && twoPass) for (const gpa of pages()) extend(gpa);
}
