import { PAGE_SIZE } from '../kvm/constants.js';
import { hex } from './bytes.js';
import { type ImageFinding, sectionFinding } from './findings.js';
import { IMAGE_RULES } from './rules.js';
import { MR_EXTEND, PAGE_AUG, SECTION_KINDS, SECTION_TYPE, sectionLabel, type TdvfSection } from './sections.js';

const PAGE = BigInt(PAGE_SIZE);
export const FOUR_GIB = 1n << 32n;
/** The highest shared bit of any TD (GPAW 52): private memory ends below it. */
export const PRIVATE_END = 1n << 51n;
/** Limit of `tdvf.added-size`, bytes. */
export const MAX_ADDED = 1n << 32n;

const end = (section: TdvfSection): bigint => section.gpa + section.memorySize;
const hasMemory = (section: TdvfSection): boolean => SECTION_KINDS[section.type]?.memory ?? true;

/** Everything that makes the sections of an image unusable, in file order, whole-image findings last. */
export function checkSections(sections: readonly TdvfSection[], fileSize: number): ImageFinding[] {
  return [
    ...sections.flatMap((section) => [...checkKind(section), ...checkData(section, fileSize), ...checkMemory(section)]),
    ...checkOverlaps(sections),
    ...checkOneHob(sections),
    ...checkResetVector(sections),
    ...checkAddedSize(sections),
  ];
}

function* checkKind(section: TdvfSection): Generator<ImageFinding> {
  if (!SECTION_KINDS[section.type]) {
    yield sectionFinding('error', IMAGE_RULES['section.type'], section, 'type', 'is not known', '0 to 8');
  }
  const problem = attributeProblem(section);
  if (problem) {
    yield sectionFinding('error', IMAGE_RULES['section.attributes'], section, 'attributes', problem, '0, 1 or 2');
  }
}

function attributeProblem({ attributes, measured, aug, type, rawSize }: TdvfSection): string | undefined {
  if (attributes > (MR_EXTEND | PAGE_AUG)) return 'has unknown bits';
  if (measured && aug) return 'has both MR.EXTEND and PAGE.AUG';
  if (aug && (rawSize > 0 || type === SECTION_TYPE.TD_HOB)) return 'has PAGE.AUG where the VMM has content to give';
  return undefined;
}

function* checkData(section: TdvfSection, fileSize: number): Generator<ImageFinding> {
  const kind = SECTION_KINDS[section.type];
  if (kind?.raw === 'required' && section.rawSize === 0) {
    yield sectionFinding('error', IMAGE_RULES['section.raw-required'], section, 'rawSize', 'is 0', 'data in the file');
  }
  if (kind?.raw === 'forbidden' && section.rawSize !== 0) {
    yield sectionFinding('error', IMAGE_RULES['section.raw-forbidden'], section, 'rawSize', 'is not 0', '0');
  }
  // Two u32: the sum is exact in a double.
  if (section.rawSize !== 0 && section.dataOffset + section.rawSize > fileSize) {
    const problem = `and RawDataSize ${hex(section.rawSize)} reach past the end of the file`;
    const expected = `data that ends at ${hex(fileSize)} or before`;
    yield sectionFinding('error', IMAGE_RULES['section.raw-in-file'], section, 'dataOffset', problem, expected);
  }
}

function* checkMemory(section: TdvfSection): Generator<ImageFinding> {
  if (!hasMemory(section)) {
    for (const field of ['gpa', 'memorySize'] as const) {
      if (section[field] === 0n) continue;
      yield sectionFinding('error', IMAGE_RULES['section.no-memory'], section, field, 'is not 0', '0');
    }
    return;
  }
  for (const field of ['gpa', 'memorySize'] as const) {
    if (section[field] % PAGE === 0n) continue;
    yield sectionFinding(
      'error',
      IMAGE_RULES['section.alignment'],
      section,
      field,
      'is not page-aligned',
      'a multiple of 0x1000',
    );
  }
  if (section.memorySize === 0n || section.memorySize < BigInt(section.rawSize)) {
    const problem = section.memorySize === 0n ? 'is 0' : `is less than RawDataSize ${hex(section.rawSize)}`;
    const least = section.rawSize === 0 ? PAGE : BigInt(section.rawSize);
    yield sectionFinding(
      'error',
      IMAGE_RULES['section.size'],
      section,
      'memorySize',
      problem,
      `at least ${hex(least)}`,
    );
  }
  // Bigints: a sum beyond 64 bits is seen as what it is.
  if (end(section) > PRIVATE_END) {
    const problem = `and MemoryDataSize ${hex(section.memorySize)} reach past private memory`;
    const expected = `memory that ends at ${hex(PRIVATE_END)} or before`;
    yield sectionFinding('error', IMAGE_RULES['section.range'], section, 'gpa', problem, expected);
  }
}

function* checkOverlaps(sections: readonly TdvfSection[]): Generator<ImageFinding> {
  const sorted = sections
    .filter((section) => hasMemory(section) && section.memorySize > 0n)
    .sort((a, b) => (a.gpa < b.gpa ? -1 : a.gpa > b.gpa ? 1 : a.index - b.index));
  let furthest: TdvfSection | undefined;
  for (const section of sorted) {
    if (furthest && section.gpa < end(furthest)) {
      const problem = `lies in ${sectionLabel(furthest)}, ${hex(furthest.gpa)} to ${hex(end(furthest))}`;
      yield sectionFinding('error', IMAGE_RULES['section.overlap'], section, 'gpa', problem, 'memory of its own');
    }
    if (!furthest || end(section) > end(furthest)) furthest = section;
  }
}

function* checkOneHob(sections: readonly TdvfSection[]): Generator<ImageFinding> {
  const [first, ...others] = sections.filter((section) => section.type === SECTION_TYPE.TD_HOB);
  for (const section of others) {
    const problem = `is TD_HOB, as is section ${first!.index}`;
    yield sectionFinding('error', IMAGE_RULES['section.one-hob'], section, 'type', problem, 'one TD_HOB section');
  }
}

function* checkResetVector(sections: readonly TdvfSection[]): Generator<ImageFinding> {
  const volumes = sections.filter((section) => section.type === SECTION_TYPE.BFV);
  const holds = (s: TdvfSection) => end(s) === FOUR_GIB && BigInt(s.rawSize) === s.memorySize && !s.aug;
  if (volumes.some(holds)) return;
  const last = volumes.at(-1);
  const rule = IMAGE_RULES['tdvf.reset-vector'];
  const expected = 'a BFV filled with data and added by the VMM that ends at 0x100000000';
  if (last) {
    const problem = `and MemoryDataSize ${hex(last.memorySize)}, with RawDataSize ${hex(last.rawSize)}, leave the reset vector 0xfffffff0 without code`;
    yield sectionFinding('error', rule, last, 'gpa', problem, expected);
  } else {
    const section = sections[0]!;
    const what = 'No BFV section: the TD has no code';
    yield {
      ...sectionFinding('error', rule, section, 'type', '', expected),
      what,
      found: 'none',
      section: section.index,
    };
  }
}

function* checkAddedSize(sections: readonly TdvfSection[]): Generator<ImageFinding> {
  let total = 0n;
  for (const section of sections) {
    if (!hasMemory(section) || section.aug) continue;
    total += section.memorySize;
    if (total <= MAX_ADDED) continue;
    const problem = `makes the pages to add ${hex(total)} bytes in total`;
    yield sectionFinding(
      'error',
      IMAGE_RULES['tdvf.added-size'],
      section,
      'memorySize',
      problem,
      `at most ${hex(MAX_ADDED)}`,
    );
    return;
  }
}
