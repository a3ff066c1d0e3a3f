import { isPageList, parsePageList, type ReadFile } from './page-list.js';
import { SECTION_KINDS, SECTION_TYPE, sectionLabel } from './sections.js';
import { parseTdvf, type TdvfImage } from './tdvf.js';

/** Memory of a TD that an image describes: a run of 4 KiB pages. */
export interface TdRegion {
  /** For people: `section 0 (BFV)`. */
  name: string;
  /** Guest physical address of the first page, page-aligned. */
  gpa: bigint;
  /** Bytes, a multiple of 4096. */
  size: number;
  /** The first bytes of its content; the rest is zero. At most `size`. */
  data: Uint8Array;
  /** The content is measured (TDH.MR.EXTEND), not only the addresses. */
  measure: boolean;
  /** The VMM adds the pages before the TD is finalised; false is PAGE.AUG: the TD accepts them when it runs. */
  add: boolean;
}

/** What a launcher puts into a TD, and what is measured. */
export interface TdImage {
  kind: 'tdvf' | 'pages';
  /** For people. */
  name: string;
  /** In the order in which their pages are added. No two overlap. */
  regions: TdRegion[];
  /** Where the TD HOB goes, if the image wants one; one of `regions` covers it. The vCPUs get `gpa` in RCX and R8. */
  hob?: { gpa: bigint; size: number };
}

export interface LoadImageOptions {
  /** For people; default `TDVF image` or the page list's name. */
  name?: string;
  /** Reads the files that a page list names; without it such a list is refused. */
  readFile?: ReadFile;
}

/** Makes a TDVF image or a page list (a JSON document, see {@link parsePageList}) ready to launch. @throws ImageError */
export function loadImage(bytes: Uint8Array, options: LoadImageOptions = {}): TdImage {
  if (isPageList(bytes)) {
    const image = parsePageList(new TextDecoder().decode(bytes), options.readFile);
    return options.name === undefined ? image : { ...image, name: options.name };
  }
  return tdvfToImage(parseTdvf(bytes), options.name ?? 'TDVF image');
}

/** The regions of a checked TDVF image, in metadata order, as QEMU adds them. Data is not copied. */
export function tdvfToImage(tdvf: TdvfImage, name: string): TdImage {
  const sections = tdvf.sections.filter((section) => SECTION_KINDS[section.type]!.memory);
  const regions = sections.map((section) => ({
    name: sectionLabel(section),
    gpa: section.gpa,
    size: Number(section.memorySize),
    data: tdvf.bytes.subarray(section.dataOffset, section.dataOffset + section.rawSize),
    measure: section.measured,
    add: !section.aug,
  }));
  const hob = sections.find((section) => section.type === SECTION_TYPE.TD_HOB);
  const image: TdImage = { kind: 'tdvf', name, regions };
  if (hob) image.hob = { gpa: hob.gpa, size: Number(hob.memorySize) };
  return image;
}
