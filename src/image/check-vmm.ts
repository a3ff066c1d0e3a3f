// What programs that load TDVF images ask beyond what makes an image usable.
import { PAGE_SIZE } from '../kvm/constants.js';
import { hex } from './bytes.js';
import { FOUR_GIB } from './check-sections.js';
import { type ImageFinding, sectionFinding } from './findings.js';
import { Q35_LOW_LIMIT } from './ram.js';
import { VMM_RULES } from './rules.js';
import { type ENTRY, SECTION_KINDS, SECTION_TYPE, type TdvfSection } from './sections.js';
import type { TdvfImage } from './tdvf.js';

type VmmRuleId = keyof typeof VMM_RULES;
type Field = Exclude<keyof typeof ENTRY, 'size'>;

const warn = (rule: VmmRuleId, section: TdvfSection, field: Field, problem: string, expected: string): ImageFinding =>
  sectionFinding('warning', VMM_RULES[rule], section, field, problem, expected);

const warnFile = (rule: VmmRuleId, what: string, offset: number, found: string, expected: string): ImageFinding => ({
  rule,
  severity: 'warning',
  what,
  offset,
  found,
  expected,
  fix: VMM_RULES[rule].fix,
});

export function* checkQemu(image: TdvfImage): Generator<ImageFinding> {
  const { sections, bytes, descriptorOffset } = image;
  const size = bytes.byteLength;
  if (image.foundBy !== 'guid-table' || size < 4096) {
    const found = image.foundBy === 'guid-table' ? `${size} bytes` : 'the legacy offset only';
    yield warnFile('qemu.guid', 'QEMU finds no metadata', image.pointerOffset, found, 'a TDX entry in the GUID table');
  }
  if (size % 0x10000 !== 0) {
    yield warnFile('qemu.file-size', 'QEMU refuses the size of the file', 0, hex(size), 'a multiple of 0x10000');
  }
  if (sections.length < 2) {
    yield warnFile('qemu.sections', 'QEMU wants more sections', descriptorOffset + 12, '1', 'at least 2');
  }
  if (!sections.some((section) => section.type === SECTION_TYPE.TD_HOB)) {
    yield warnFile('qemu.hob', 'QEMU wants a place for the TD HOB', descriptorOffset, 'none', 'a TD_HOB section');
  }
  for (const section of sections) yield* checkQemuSection(section, size);
}

function* checkQemuSection(section: TdvfSection, fileSize: number): Generator<ImageFinding> {
  if (section.type > SECTION_TYPE.TEMP_MEM) {
    yield warn('qemu.types', section, 'type', 'is not known to QEMU', '0 to 3');
    return;
  }
  if (section.aug) {
    yield warn('qemu.page-aug', section, 'attributes', 'has PAGE.AUG, which QEMU ignores', '0 or 1');
  }
  if (section.rawSize > 0 && BigInt(section.rawSize) !== section.memorySize) {
    const expected = hex(section.memorySize);
    yield warn('qemu.raw-size', section, 'rawSize', 'is not MemoryDataSize', expected);
  }
  if (section.rawSize > 0 && section.dataOffset % PAGE_SIZE !== 0) {
    yield warn('qemu.data-offset', section, 'dataOffset', 'is not page-aligned', 'a multiple of 0x1000');
  }
  const holeEnd = section.rawSize > 0 ? FOUR_GIB - BigInt(fileSize) : FOUR_GIB;
  if (section.gpa < holeEnd && section.gpa + section.memorySize > Q35_LOW_LIMIT) {
    const expected = `outside ${hex(Q35_LOW_LIMIT)} to ${hex(holeEnd)}`;
    yield warn('qemu.memory', section, 'gpa', 'is where QEMU has no memory', expected);
  }
}

export function* checkCloudHypervisor({ sections }: TdvfImage): Generator<ImageFinding> {
  for (const section of sections) {
    if (section.type <= SECTION_TYPE.PAYLOAD_PARAM) continue;
    yield warn('cloud-hypervisor.types', section, 'type', 'is not known to cloud-hypervisor', '0 to 6');
  }
}

export function* checkTdShim({ sections, descriptorOffset }: TdvfImage): Generator<ImageFinding> {
  for (const section of sections) {
    const allowed = SECTION_KINDS[section.type]?.shimAttributes;
    if (allowed && !allowed.includes(section.attributes)) {
      const problem = 'is not what td-shim wants';
      yield warn('td-shim.attributes', section, 'attributes', problem, allowed.join(' or '));
    }
    if (section.rawSize === 0 && section.dataOffset !== 0) {
      yield warn('td-shim.data-offset', section, 'dataOffset', 'is not 0 although there is no data', '0');
    }
  }
  yield* checkTdShimCounts(sections, descriptorOffset);
  const volume = sections.filter((section) => section.type === SECTION_TYPE.BFV).at(-1);
  for (const section of sections.filter(
    ({ type }) => type === SECTION_TYPE.TD_INFO || type === SECTION_TYPE.TD_PARAMS,
  )) {
    if (!volume || inside(section, volume)) continue;
    const expected = `${hex(volume.dataOffset)} to ${hex(volume.dataOffset + volume.rawSize)}`;
    yield warn('td-shim.in-bfv', section, 'dataOffset', 'is outside the BFV', expected);
  }
}

const inside = (inner: TdvfSection, outer: TdvfSection): boolean =>
  inner.dataOffset >= outer.dataOffset && inner.dataOffset + inner.rawSize <= outer.dataOffset + outer.rawSize;

function* checkTdShimCounts(sections: readonly TdvfSection[], offset: number): Generator<ImageFinding> {
  const count = (type: number) => sections.filter((section) => section.type === type).length;
  const { PAYLOAD, PAYLOAD_PARAM, TD_INFO, TD_PARAMS, TD_HOB, PERM_MEM } = SECTION_TYPE;
  for (const type of [PAYLOAD, PAYLOAD_PARAM, TD_INFO, TD_PARAMS]) {
    if (count(type) <= 1) continue;
    yield warnFile(
      'td-shim.counts',
      `td-shim takes one ${SECTION_KINDS[type]!.name} section`,
      offset,
      `${count(type)}`,
      '0 or 1',
    );
  }
  if (count(PAYLOAD) === 0 && count(PAYLOAD_PARAM) > 0) {
    yield warnFile(
      'td-shim.counts',
      'td-shim takes PayloadParam only with a Payload',
      offset,
      'no Payload',
      'both or none',
    );
  }
  if (count(TD_HOB) === 0 && count(PERM_MEM) === 0) {
    yield warnFile(
      'td-shim.counts',
      'td-shim wants to be told of memory',
      offset,
      'neither',
      'a TD_HOB or a PermMem section',
    );
  }
}
