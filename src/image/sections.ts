/** One section of the TDVF metadata, as the file has it. */
export interface TdvfSection {
  /** Position in the metadata, from 0: the order in which the pages are added. */
  index: number;
  /** Bytes from the start of the file to this entry. */
  entryOffset: number;
  /** Section type, 0 to 8. */
  type: number;
  /** `BFV`, `CFV`, ...; `type N` for one that is not known. */
  name: string;
  /** Bytes from the start of the file to the data. */
  dataOffset: number;
  /** Bytes of data in the file. */
  rawSize: number;
  gpa: bigint;
  /** Bytes of memory. */
  memorySize: bigint;
  attributes: number;
  /** Attribute bit 0, MR.EXTEND: the content is measured. */
  measured: boolean;
  /** Attribute bit 1, PAGE.AUG: the VMM does not add the pages, the TD accepts them. */
  aug: boolean;
}

export const SECTION_TYPE = {
  BFV: 0,
  CFV: 1,
  TD_HOB: 2,
  TEMP_MEM: 3,
  PERM_MEM: 4,
  PAYLOAD: 5,
  PAYLOAD_PARAM: 6,
  TD_INFO: 7,
  TD_PARAMS: 8,
} as const;

export const MR_EXTEND = 1;
export const PAGE_AUG = 2;

interface SectionKind {
  name: string;
  /** Whether the file must, must not or may have data for it. */
  raw: 'required' | 'forbidden' | 'optional';
  /** Whether it describes memory of the TD at all. */
  memory: boolean;
  /** Attributes that td-shim takes. */
  shimAttributes: readonly number[];
}

/** By type. Source: TDVF design guide (0 to 3), td-shim specification (4 to 8). */
export const SECTION_KINDS: readonly SectionKind[] = [
  { name: 'BFV', raw: 'required', memory: true, shimAttributes: [MR_EXTEND] },
  { name: 'CFV', raw: 'required', memory: true, shimAttributes: [0] },
  { name: 'TD_HOB', raw: 'forbidden', memory: true, shimAttributes: [0] },
  { name: 'TempMem', raw: 'forbidden', memory: true, shimAttributes: [0] },
  { name: 'PermMem', raw: 'forbidden', memory: true, shimAttributes: [PAGE_AUG] },
  { name: 'Payload', raw: 'optional', memory: true, shimAttributes: [0, MR_EXTEND] },
  { name: 'PayloadParam', raw: 'optional', memory: true, shimAttributes: [0] },
  { name: 'TD_INFO', raw: 'required', memory: false, shimAttributes: [0] },
  { name: 'TD_PARAMS', raw: 'required', memory: false, shimAttributes: [0] },
];

/** Offsets of the fields in a 32-byte section entry. */
export const ENTRY = { dataOffset: 0, rawSize: 4, gpa: 8, memorySize: 16, type: 24, attributes: 28, size: 32 } as const;

/** `section 2 (TD_HOB)`. */
export const sectionLabel = (section: TdvfSection): string => `section ${section.index} (${section.name})`;
