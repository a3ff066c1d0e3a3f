import { type FileView, hex } from './bytes.js';
import { ImageError } from './errors.js';
import { IMAGE_RULES, type ImageRule } from './rules.js';
import { ENTRY, MR_EXTEND, PAGE_AUG, SECTION_KINDS, type TdvfSection } from './sections.js';

const FOOTER_GUID = '96b582de-1fb2-45f7-baea-a366c55a082d';
const METADATA_OFFSET_GUID = 'e47a6535-984a-4798-865e-4685a7bf8ec2';
const SIGNATURE = 0x4656_4454; // 'TDVF'
const DESCRIPTOR_SIZE = 16;
const GUID_ENTRY_OVERHEAD = 18; // u16 length and the GUID follow the data

export interface MetadataLocation {
  /** How it was found. QEMU takes `guid-table` only. */
  foundBy: 'guid-table' | 'legacy-offset';
  /** Bytes from the start of the file to the number that leads to the descriptor. */
  pointerOffset: number;
  /** Bytes from the start of the file to the descriptor. */
  descriptorOffset: number;
}

const refuse = (rule: ImageRule, what: string, offset: number, found: string, expected: string): never => {
  throw new ImageError({ rule: rule.id, what, offset, found, expected, fix: rule.fix });
};

const isDescriptor = (file: FileView, offset: number): boolean =>
  offset >= 0 && offset + DESCRIPTOR_SIZE <= file.size && file.u32(offset) === SIGNATURE;

/** Walks the table backwards from its footer. @returns the offset of the data of the TDX entry, if it has one. */
function findTdxEntry(file: FileView): number | undefined {
  const footer = file.size - 0x30;
  if (footer < 2 || file.guid(footer) !== FOOTER_GUID) return undefined;
  const lengthOffset = footer - 2;
  const length = file.u16(lengthOffset);
  const rule = IMAGE_RULES['tdvf.guid-table'];
  if (length < GUID_ENTRY_OVERHEAD || length > footer + 16) {
    refuse(rule, 'GUID table: impossible length', lengthOffset, `${length}`, `18 to ${footer + 16}`);
  }
  const start = footer + 16 - length;
  for (let end = lengthOffset; end - start >= GUID_ENTRY_OVERHEAD; ) {
    const entryLength = file.u16(end - GUID_ENTRY_OVERHEAD);
    const guid = file.guid(end - 16);
    if (entryLength < GUID_ENTRY_OVERHEAD || entryLength > end - start) {
      const expected = `18 to ${end - start}`;
      refuse(
        rule,
        `GUID table: impossible length of entry ${guid}`,
        end - GUID_ENTRY_OVERHEAD,
        `${entryLength}`,
        expected,
      );
    }
    if (guid === METADATA_OFFSET_GUID) {
      if (entryLength !== GUID_ENTRY_OVERHEAD + 4) {
        refuse(
          rule,
          'GUID table: the TDX metadata entry is not one u32',
          end - GUID_ENTRY_OVERHEAD,
          `${entryLength}`,
          '22',
        );
      }
      return end - entryLength;
    }
    end -= entryLength;
  }
  return undefined;
}

/**
 * Finds the TDVF descriptor: by the OVMF GUID table (its u32 counts from the end of the file), else by the legacy u32 at
 * 0x20 bytes before the end (it counts from the start). @throws ImageError where neither leads to one.
 */
export function locateMetadata(file: FileView): MetadataLocation {
  const rule = IMAGE_RULES['tdvf.metadata'];
  if (file.size < 0x40) refuse(rule, 'The file is too small for a TDVF image', 0, `${file.size} bytes`, 'at least 64');
  const pointerOffset = findTdxEntry(file);
  if (pointerOffset !== undefined) {
    const descriptorOffset = file.size - file.u32(pointerOffset);
    if (!isDescriptor(file, descriptorOffset)) {
      const found = `${hex(file.u32(pointerOffset))} from the end of ${hex(file.size)} bytes`;
      refuse(
        rule,
        'GUID table: the TDX metadata offset does not lead to a descriptor',
        pointerOffset,
        found,
        "'TDVF' there",
      );
    }
    return { foundBy: 'guid-table', pointerOffset, descriptorOffset };
  }
  const legacy = file.size - 0x20;
  const descriptorOffset = file.u32(legacy);
  if (!isDescriptor(file, descriptorOffset)) {
    const what =
      'No TDVF metadata: there is no TDX entry in a GUID table, and the legacy offset leads to no descriptor';
    refuse(rule, what, legacy, hex(descriptorOffset), "the offset of 'TDVF'");
  }
  return { foundBy: 'legacy-offset', pointerOffset: legacy, descriptorOffset };
}

/** Reads the entries that follow the descriptor; their values are not judged here. @throws ImageError on a bad descriptor. */
export function readSections(file: FileView, descriptorOffset: number): TdvfSection[] {
  const [length, version, count] = [4, 8, 12].map((field) => file.u32(descriptorOffset + field)) as [
    number,
    number,
    number,
  ];
  if (version !== 1) {
    refuse(IMAGE_RULES['tdvf.version'], 'TDVF descriptor: unknown version', descriptorOffset + 8, `${version}`, '1');
  }
  const rule = IMAGE_RULES['tdvf.length'];
  const room = Math.floor((file.size - descriptorOffset - DESCRIPTOR_SIZE) / ENTRY.size);
  if (count < 1 || count > room) {
    refuse(rule, 'TDVF descriptor: impossible NumberOfSections', descriptorOffset + 12, `${count}`, `1 to ${room}`);
  }
  const wanted = DESCRIPTOR_SIZE + ENTRY.size * count;
  if (length !== wanted) {
    const expected = `${wanted} for ${count} sections`;
    refuse(
      rule,
      'TDVF descriptor: Length does not match NumberOfSections',
      descriptorOffset + 4,
      `${length}`,
      expected,
    );
  }
  return Array.from({ length: count }, (_, index) => readSection(file, index, descriptorOffset + DESCRIPTOR_SIZE));
}

function readSection(file: FileView, index: number, entries: number): TdvfSection {
  const entryOffset = entries + ENTRY.size * index;
  const type = file.u32(entryOffset + ENTRY.type);
  const attributes = file.u32(entryOffset + ENTRY.attributes);
  return {
    index,
    entryOffset,
    type,
    name: SECTION_KINDS[type]?.name ?? `type ${type}`,
    dataOffset: file.u32(entryOffset + ENTRY.dataOffset),
    rawSize: file.u32(entryOffset + ENTRY.rawSize),
    gpa: file.u64(entryOffset + ENTRY.gpa),
    memorySize: file.u64(entryOffset + ENTRY.memorySize),
    attributes,
    measured: (attributes & MR_EXTEND) !== 0,
    aug: (attributes & PAGE_AUG) !== 0,
  };
}
