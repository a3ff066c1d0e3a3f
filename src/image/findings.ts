import { hex } from './bytes.js';
import type { ImageRule } from './rules.js';
import { ENTRY, sectionLabel, type TdvfSection } from './sections.js';

/** One thing that is wrong with an image. */
export interface ImageFinding {
  rule: string;
  /** `error`: this library refuses the image. `warning`: some program that loads TDVF images does. */
  severity: 'error' | 'warning';
  what: string;
  /** Bytes from the start of the file to the field. */
  offset: number;
  found: string;
  expected: string;
  fix: string;
  /** Index of the section it is about. */
  section?: number;
}

type Field = Exclude<keyof typeof ENTRY, 'size'>;
const FIELD_NAME: Record<Field, string> = {
  dataOffset: 'DataOffset',
  rawSize: 'RawDataSize',
  gpa: 'MemoryAddress',
  memorySize: 'MemoryDataSize',
  type: 'Type',
  attributes: 'Attributes',
};

/** A finding about one field of a section. `found` is left to the field's value where that says enough. */
export function sectionFinding(
  severity: ImageFinding['severity'],
  rule: ImageRule,
  section: TdvfSection,
  field: Field,
  problem: string,
  expected: string,
): ImageFinding {
  const value = section[field];
  return {
    rule: rule.id,
    severity,
    what: `${sectionLabel(section)}: ${FIELD_NAME[field]} ${problem}`,
    offset: section.entryOffset + ENTRY[field],
    found: hex(value),
    expected,
    fix: rule.fix,
    section: section.index,
  };
}
