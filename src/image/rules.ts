/** One rule of the TDVF format or of a program that loads it. */
export interface ImageRule {
  readonly id: string;
  /** Where the rule can be read. */
  readonly source: string;
  /** What must hold, one sentence. */
  readonly what: string;
  readonly fix: string;
}

const rules = <const Id extends string>(table: Record<Id, Omit<ImageRule, 'id'>>): Readonly<Record<Id, ImageRule>> =>
  Object.fromEntries(
    Object.entries<Omit<ImageRule, 'id'>>(table).map(([id, entry]) => [id, Object.freeze({ id, ...entry })]),
  ) as unknown as Record<Id, ImageRule>;

const GUIDE = 'Intel TDX Virtual Firmware Design Guide, TDVF metadata';
const QEMU = 'QEMU hw/i386/tdvf.c';
const SHIM = 'td-shim td-shim-interface/src/metadata.rs validate_sections';
const rebuild = 'The image is damaged or was built by a broken tool: build or download it again.';

/** What makes an image usable at all: violated, it is refused. */
export const IMAGE_RULES = rules({
  'tdvf.metadata': {
    source: `${GUIDE}; QEMU hw/i386/pc_sysfw_ovmf.c`,
    what: 'The file leads to a TDVF descriptor, by the GUID table that ends 0x20 bytes before its end or by the legacy offset there',
    fix: 'Use an image built for TDX, such as OVMF.fd of the Debian package ovmf or OVMF.inteltdx.fd; OVMF_CODE files without TDX support lack it.',
  },
  'tdvf.guid-table': {
    source: 'QEMU hw/i386/pc_sysfw_ovmf.c; cloud-hypervisor arch/src/x86_64/tdx/mod.rs',
    what: 'Every entry of the GUID table is at least 18 bytes and inside the table, and the table is inside the file',
    fix: rebuild,
  },
  'tdvf.version': {
    source: GUIDE,
    what: 'The version of the descriptor is 1',
    fix: 'This library knows version 1 only.',
  },
  'tdvf.length': {
    source: `${QEMU} tdvf_parse_metadata`,
    what: 'Length of the descriptor is 16 + 32 * NumberOfSections, with at least one section, inside the file',
    fix: rebuild,
  },
  'section.type': {
    source: `${GUIDE}; td-shim`,
    what: 'Type is 0 to 8',
    fix: 'Use a newer version of this library if the type is newer than it.',
  },
  'section.attributes': {
    source: GUIDE,
    what: 'Attributes has only MR.EXTEND (bit 0) and PAGE.AUG (bit 1), not both, and PAGE.AUG only without content: a page that the VMM does not add can neither be measured nor filled',
    fix: 'Clear the other bits.',
  },
  'section.alignment': {
    source: `${QEMU} tdvf_parse_and_check_section_entry`,
    what: 'MemoryAddress and MemoryDataSize are multiples of 4096',
    fix: 'TDs are built of 4 KiB pages: align the section.',
  },
  'section.size': {
    source: `${QEMU}; KVM_TDX_INIT_MEM_REGION refuses nr_pages 0`,
    what: 'MemoryDataSize is not 0 and not less than RawDataSize',
    fix: 'Make the section large enough for its data.',
  },
  'section.range': {
    source: 'TDX module helpers.c check_gpa_validity',
    what: 'MemoryAddress + MemoryDataSize is at most 2^51: higher addresses are shared in every TD',
    fix: 'Move the section below the shared bit.',
  },
  'section.raw-required': {
    source: QEMU,
    what: 'BFV, CFV, TD_INFO and TD_PARAMS have data in the file',
    fix: rebuild,
  },
  'section.raw-forbidden': {
    source: QEMU,
    what: 'TD_HOB, TempMem and PermMem have no data in the file: RawDataSize is 0',
    fix: 'Make the data a BFV or CFV section.',
  },
  'section.raw-in-file': {
    source: 'edk2 TDVF metadata; QEMU reads past the file without this check',
    what: 'DataOffset + RawDataSize is inside the file',
    fix: 'The file is truncated or the metadata is wrong: compare its size with the published one.',
  },
  'section.no-memory': {
    source: SHIM,
    what: 'TD_INFO and TD_PARAMS have no memory: MemoryAddress and MemoryDataSize are 0',
    fix: rebuild,
  },
  'section.overlap': {
    source: 'TDH.MEM.PAGE.ADD: TDX_EPT_ENTRY_STATE_INCORRECT for a page added twice',
    what: 'No two sections share a guest physical page',
    fix: 'Move one of the sections.',
  },
  'section.one-hob': { source: SHIM, what: 'There is at most one TD_HOB section', fix: 'Remove the others.' },
  'tdvf.reset-vector': {
    source: 'TDX module td_vmcs_init.c: every vCPU starts at 0xfffffff0',
    what: 'A BFV section ends at 4 GiB, with data up to its end, so that it holds the reset vector',
    fix: 'Place the last BFV so that it ends at 0x100000000.',
  },
  'tdvf.added-size': {
    source: 'sanity limit of this library',
    what: 'The pages to add are at most 4 GiB in total: more is a damaged size, and would be hashed for minutes',
    fix: rebuild,
  },
  'image.pages': {
    source: 'the page list of this library, docs in src/image/page-list.ts',
    what: 'A page list is a JSON document of the documented form',
    fix: 'Correct the page list.',
  },
  'hob.too-small': {
    source: 'QEMU hw/i386/tdvf-hob.c: "TD_HOB overrun"',
    what: 'The TD HOB fits its section',
    fix: 'Use an image with a larger TD_HOB section, or fewer sections.',
  },
  'hob.ram': {
    source: 'QEMU target/i386/kvm/tdx.c tdx_accept_ram_range',
    what: 'Memory that the VMM adds lies in one range of RAM',
    fix: 'Give the TD more memory, or an image that needs less.',
  },
  'measure.hob': {
    source: 'TDVF metadata: a TD_HOB section with MR.EXTEND',
    what: 'The content of a measured TD_HOB is known',
    fix: 'Give the HOB that the launcher will use.',
  },
});

/** What a program that loads TDVF images asks beyond that. `where` names the program. */
export const VMM_RULES = rules({
  'qemu.guid': {
    source: `${QEMU} tdvf_get_metadata`,
    what: 'The metadata is found by the GUID table, in a file of at least 4096 bytes',
    fix: 'Add the GUID table.',
  },
  'qemu.file-size': {
    source: 'QEMU hw/i386/x86-common.c x86_bios_rom_init',
    what: 'The size of the file is a multiple of 64 KiB',
    fix: 'Pad the image at its start.',
  },
  'qemu.types': {
    source: `${QEMU}`,
    what: 'All sections are BFV, CFV, TD_HOB or TempMem',
    fix: 'Use cloud-hypervisor, or an image without the other sections.',
  },
  'qemu.sections': {
    source: `${QEMU} tdvf_parse_metadata`,
    what: 'There are at least two sections',
    fix: 'Add the sections that the firmware needs.',
  },
  'qemu.hob': {
    source: 'QEMU target/i386/kvm/tdx.c tdx_get_hob_entry',
    what: 'There is a TD_HOB section',
    fix: 'Add a TD_HOB section.',
  },
  'qemu.raw-size': {
    source: 'QEMU target/i386/kvm/tdx.c tdx_init_fw_mem_region: nr_pages is size >> 12, from the file',
    what: 'RawDataSize of BFV and CFV is MemoryDataSize: QEMU takes what follows in the file instead of zeros, and measures it',
    fix: 'Pad the data in the file.',
  },
  'qemu.data-offset': {
    source:
      'tdx.c tdx_vcpu_init_mem_region: EINVAL for a source_addr that is not page-aligned; QEMU passes the place in the file',
    what: 'DataOffset of BFV and CFV is a multiple of 4096',
    fix: 'Align the data in the file.',
  },
  'qemu.page-aug': {
    source: 'QEMU target/i386/kvm/tdx.c tdx_init_fw_mem_region',
    what: 'No section has PAGE.AUG: QEMU adds every page',
    fix: 'Clear PAGE.AUG.',
  },
  'qemu.memory': {
    source: 'QEMU target/i386/kvm/tdx.c, hw/i386/pc_q35.c',
    what: 'Sections without data lie in RAM, that is outside 0xb0000000 to 4 GiB; sections with data lie there or in the image at the end of 4 GiB',
    fix: 'Move the section.',
  },
  'cloud-hypervisor.types': {
    source: 'cloud-hypervisor arch/src/x86_64/tdx/mod.rs TdvfSectionType',
    what: 'All sections have a type of 0 to 6',
    fix: 'Remove TD_INFO and TD_PARAMS.',
  },
  'td-shim.attributes': {
    source: SHIM,
    what: 'BFV is measured, PermMem is PAGE.AUG, Payload may be measured, and the others have no attributes',
    fix: 'Set the attributes so.',
  },
  'td-shim.data-offset': { source: SHIM, what: 'A section without data has DataOffset 0', fix: 'Zero DataOffset.' },
  'td-shim.counts': {
    source: SHIM,
    what: 'There is at most one Payload, PayloadParam (only with a Payload), TD_INFO and TD_PARAMS, and at least a TD_HOB or a PermMem',
    fix: 'Remove or add sections.',
  },
  'td-shim.in-bfv': {
    source: SHIM,
    what: 'The data of TD_INFO and TD_PARAMS lies in the data of the last BFV',
    fix: rebuild,
  },
});

export type ImageRuleId = keyof typeof IMAGE_RULES | keyof typeof VMM_RULES;
