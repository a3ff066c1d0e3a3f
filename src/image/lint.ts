import { hex } from './bytes.js';
import { checkSections, FOUR_GIB } from './check-sections.js';
import { ImageError } from './errors.js';
import { type ImageFinding, sectionFinding } from './findings.js';
import { type ImageRule, VMM_RULES } from './rules.js';
import { SECTION_KINDS, SECTION_TYPE, type TdvfSection } from './sections.js';
import { readTdvf, type TdvfImage } from './tdvf.js';

export type VmmName = 'qemu' | 'cloud-hypervisor' | 'td-shim';

export interface VmmVerdict {
  /** Whether it would load the image, as far as its published source says. */
  accepts: boolean;
  /** The rules that say no. */
  rules: string[];
}

export interface TdvfLint {
  /** Absent where the metadata cannot be read at all. */
  image?: TdvfImage;
  /** All findings: errors first. */
  findings: ImageFinding[];
  verdicts: Record<VmmName, VmmVerdict>;
}

// QEMU (q35) never has RAM from here to 4 GiB: PCI and the firmware are there (hw/i386/pc_q35.c).
export const Q35_PCI_HOLE = 0xb000_0000n;

/** Every finding about an image, and who would load it. Never throws for what is in the file. */
export function lintTdvf(bytes: Uint8Array): TdvfLint {
  let image: TdvfImage;
  try {
    image = readTdvf(bytes);
  } catch (error) {
    if (!(error instanceof ImageError)) throw error;
    const { rule, offset = 0, found = '', expected = '', fix, message } = error;
    const finding: ImageFinding = { rule, severity: 'error', what: message, offset, found, expected, fix };
    const no: VmmVerdict = { accepts: false, rules: [rule] };
    return { findings: [finding], verdicts: { qemu: no, 'cloud-hypervisor': no, 'td-shim': no } };
  }
  const errors = checkSections(image.sections, bytes.byteLength);
  const perVmm: Record<VmmName, ImageFinding[]> = {
    qemu: [...checkQemu(image)],
    'cloud-hypervisor': [...checkCloudHypervisor(image)],
    'td-shim': [...checkTdShim(image)],
  };
  const verdict = (vmm: VmmName): VmmVerdict => {
    const rules = [...new Set([...errors, ...perVmm[vmm]].map((finding) => finding.rule))];
    return { accepts: rules.length === 0, rules };
  };
  return {
    image,
    findings: [...errors, ...Object.values(perVmm).flat()],
    verdicts: { qemu: verdict('qemu'), 'cloud-hypervisor': verdict('cloud-hypervisor'), 'td-shim': verdict('td-shim') },
  };
}

const fileFinding = (rule: ImageRule, what: string, offset: number, found: string, expected: string): ImageFinding => ({
  rule: rule.id,
  severity: 'warning',
  what,
  offset,
  found,
  expected,
  fix: rule.fix,
});

function* checkQemu(image: TdvfImage): Generator<ImageFinding> {
  const { sections, bytes, descriptorOffset } = image;
  const size = bytes.byteLength;
  if (image.foundBy !== 'guid-table' || size < 4096) {
    const found = image.foundBy === 'guid-table' ? `${size} bytes` : 'the legacy offset only';
    yield fileFinding(
      VMM_RULES['qemu.guid'],
      'QEMU finds no metadata',
      image.pointerOffset,
      found,
      'a TDX entry in the GUID table',
    );
  }
  if (size % 0x10000 !== 0) {
    yield fileFinding(
      VMM_RULES['qemu.file-size'],
      'QEMU refuses the size of the file',
      0,
      hex(size),
      'a multiple of 0x10000',
    );
  }
  if (sections.length < 2) {
    yield fileFinding(VMM_RULES['qemu.sections'], 'QEMU wants more sections', descriptorOffset + 12, '1', 'at least 2');
  }
  if (!sections.some((section) => section.type === SECTION_TYPE.TD_HOB)) {
    yield fileFinding(
      VMM_RULES['qemu.hob'],
      'QEMU wants a place for the TD HOB',
      descriptorOffset,
      'none',
      'a TD_HOB section',
    );
  }
  for (const section of sections) {
    if (section.type > SECTION_TYPE.TEMP_MEM) {
      yield sectionFinding('warning', VMM_RULES['qemu.types'], section, 'type', 'is not known to QEMU', '0 to 3');
      continue;
    }
    if (section.aug) {
      yield sectionFinding(
        'warning',
        VMM_RULES['qemu.page-aug'],
        section,
        'attributes',
        'has PAGE.AUG, which QEMU ignores',
        '0 or 1',
      );
    }
    const holeEnd = section.rawSize > 0 ? FOUR_GIB - BigInt(size) : FOUR_GIB;
    if (section.gpa < holeEnd && section.gpa + section.memorySize > Q35_PCI_HOLE) {
      const expected = `outside ${hex(Q35_PCI_HOLE)} to ${hex(holeEnd)}`;
      yield sectionFinding(
        'warning',
        VMM_RULES['qemu.memory'],
        section,
        'gpa',
        'is where QEMU has no memory',
        expected,
      );
    }
  }
}

function* checkCloudHypervisor({ sections }: TdvfImage): Generator<ImageFinding> {
  for (const section of sections) {
    if (section.type <= SECTION_TYPE.PAYLOAD_PARAM) continue;
    const rule = VMM_RULES['cloud-hypervisor.types'];
    yield sectionFinding('warning', rule, section, 'type', 'is not known to cloud-hypervisor', '0 to 6');
  }
}

function* checkTdShim({ sections, descriptorOffset }: TdvfImage): Generator<ImageFinding> {
  for (const section of sections) {
    const allowed = SECTION_KINDS[section.type]?.shimAttributes;
    if (allowed && !allowed.includes(section.attributes)) {
      const problem = 'is not what td-shim wants';
      yield sectionFinding(
        'warning',
        VMM_RULES['td-shim.attributes'],
        section,
        'attributes',
        problem,
        allowed.join(' or '),
      );
    }
    if (section.rawSize === 0 && section.dataOffset !== 0) {
      yield sectionFinding(
        'warning',
        VMM_RULES['td-shim.data-offset'],
        section,
        'dataOffset',
        'is not 0 although there is no data',
        '0',
      );
    }
  }
  yield* checkTdShimCounts(sections, descriptorOffset);
  const volume = sections.filter((section) => section.type === SECTION_TYPE.BFV).at(-1);
  for (const section of sections.filter(
    ({ type }) => type === SECTION_TYPE.TD_INFO || type === SECTION_TYPE.TD_PARAMS,
  )) {
    if (!volume || inside(section, volume)) continue;
    const expected = `${hex(volume.dataOffset)} to ${hex(volume.dataOffset + volume.rawSize)}`;
    yield sectionFinding('warning', VMM_RULES['td-shim.in-bfv'], section, 'dataOffset', 'is outside the BFV', expected);
  }
}

const inside = (inner: TdvfSection, outer: TdvfSection): boolean =>
  inner.dataOffset >= outer.dataOffset && inner.dataOffset + inner.rawSize <= outer.dataOffset + outer.rawSize;

function* checkTdShimCounts(sections: readonly TdvfSection[], offset: number): Generator<ImageFinding> {
  const rule = VMM_RULES['td-shim.counts'];
  const count = (type: number) => sections.filter((section) => section.type === type).length;
  const { PAYLOAD, PAYLOAD_PARAM, TD_INFO, TD_PARAMS, TD_HOB, PERM_MEM } = SECTION_TYPE;
  for (const type of [PAYLOAD, PAYLOAD_PARAM, TD_INFO, TD_PARAMS]) {
    if (count(type) <= 1) continue;
    yield fileFinding(
      rule,
      `td-shim takes one ${SECTION_KINDS[type]!.name} section`,
      offset,
      `${count(type)}`,
      '0 or 1',
    );
  }
  if (count(PAYLOAD) === 0 && count(PAYLOAD_PARAM) > 0) {
    yield fileFinding(rule, 'td-shim takes PayloadParam only with a Payload', offset, 'no Payload', 'both or none');
  }
  if (count(TD_HOB) === 0 && count(PERM_MEM) === 0) {
    yield fileFinding(rule, 'td-shim wants to be told of memory', offset, 'neither', 'a TD_HOB or a PermMem section');
  }
}
