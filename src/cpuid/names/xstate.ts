import type { LeafNames } from './table.js';

// Intel SDM volume 2, CPUID leaves 0xD and 0x14.

export const LEAF_D_0: LeafNames = {
  leaf: 0xd,
  subleaves: [0],
  rows: [
    ['XCR0_X87', 'eax', 0, 'XCR0: x87'],
    ['XCR0_SSE', 'eax', 1, 'XCR0: SSE'],
    ['XCR0_AVX', 'eax', 2, 'XCR0: AVX'],
    ['XCR0_BNDREGS', 'eax', 3, 'XCR0: MPX bound registers'],
    ['XCR0_BNDCSR', 'eax', 4, 'XCR0: MPX configuration'],
    ['XCR0_OPMASK', 'eax', 5, 'XCR0: AVX-512 opmask'],
    ['XCR0_ZMM_HI256', 'eax', 6, 'XCR0: AVX-512 upper halves'],
    ['XCR0_HI16_ZMM', 'eax', 7, 'XCR0: AVX-512 ZMM16 to 31'],
    ['XCR0_PKRU', 'eax', 9, 'XCR0: PKRU'],
    ['XCR0_XTILECFG', 'eax', 17, 'XCR0: AMX tile configuration'],
    ['XCR0_XTILEDATA', 'eax', 18, 'XCR0: AMX tile data'],
    ['XCR0_APX', 'eax', 19, 'XCR0: APX registers'],
    ['XSAVE_SIZE_ENABLED', 'ebx', [31, 0], 'Bytes of the XSAVE area for XCR0 as it is'],
    ['XSAVE_SIZE_MAX', 'ecx', [31, 0], 'Bytes of the XSAVE area for all of XCR0'],
    ['XCR0_HIGH', 'edx', [31, 0], 'XCR0: bits 63:32'],
  ],
};

export const LEAF_D_1: LeafNames = {
  leaf: 0xd,
  subleaves: [1],
  rows: [
    ['XSAVEOPT', 'eax', 0, 'XSAVEOPT instruction'],
    ['XSAVEC', 'eax', 1, 'XSAVEC instruction'],
    ['XGETBV1', 'eax', 2, 'XGETBV with ECX 1'],
    ['XSAVES', 'eax', 3, 'XSAVES, XRSTORS and IA32_XSS'],
    ['XFD', 'eax', 4, 'Extended feature disable'],
    ['XSAVES_SIZE', 'ebx', [31, 0], 'Bytes of the compacted area for XCR0 | IA32_XSS as they are'],
    ['XSS_PT', 'ecx', 8, 'IA32_XSS: Processor Trace'],
    ['XSS_PASID', 'ecx', 10, 'IA32_XSS: PASID'],
    ['XSS_CET_U', 'ecx', 11, 'IA32_XSS: CET user state'],
    ['XSS_CET_S', 'ecx', 12, 'IA32_XSS: CET supervisor state'],
    ['XSS_HDC', 'ecx', 13, 'IA32_XSS: hardware duty cycling'],
    ['XSS_UINTR', 'ecx', 14, 'IA32_XSS: user interrupts'],
    ['XSS_LBR', 'ecx', 15, 'IA32_XSS: last branch records'],
    ['XSS_HWP', 'ecx', 16, 'IA32_XSS: hardware P-states'],
    ['XSS_HIGH', 'edx', [31, 0], 'IA32_XSS: bits 63:32'],
  ],
};

export const LEAF_14_0: LeafNames = {
  leaf: 0x14,
  subleaves: [0],
  rows: [
    ['PT_MAX_SUBLEAF', 'eax', [31, 0], 'Highest sub-leaf of leaf 0x14'],
    ['PT_CR3_FILTER', 'ebx', 0, 'CR3 filtering'],
    ['PT_PSB_CYC', 'ebx', 1, 'Configurable PSB and cycle-accurate mode'],
    ['PT_IP_FILTER', 'ebx', 2, 'IP filtering and TraceStop'],
    ['PT_MTC', 'ebx', 3, 'MTC packets'],
    ['PTWRITE', 'ebx', 4, 'PTWRITE instruction'],
    ['PT_POWER_EVENTS', 'ebx', 5, 'Power event trace'],
    ['PT_PSB_PMI', 'ebx', 6, 'PSB and PMI preservation'],
    ['PT_EVENT_TRACE', 'ebx', 7, 'Event trace'],
    ['PT_TNT_DISABLE', 'ebx', 8, 'TNT packets can be disabled'],
    ['PT_TOPA', 'ecx', 0, 'ToPA output'],
    ['PT_TOPA_MULTI', 'ecx', 1, 'ToPA tables with many entries'],
    ['PT_SINGLE_RANGE', 'ecx', 2, 'Single-range output'],
    ['PT_TRANSPORT', 'ecx', 3, 'Trace transport output'],
    ['PT_LIP', 'ecx', 31, 'IP payloads are linear addresses'],
  ],
};

export const LEAF_14_1: LeafNames = {
  leaf: 0x14,
  subleaves: [1],
  rows: [
    ['PT_ADDRESS_RANGES', 'eax', [2, 0], 'Address ranges for filtering'],
    ['PT_MTC_PERIODS', 'eax', [31, 16], 'MTC periods, as a bitmap'],
    ['PT_CYCLE_THRESHOLDS', 'ebx', [15, 0], 'Cycle thresholds, as a bitmap'],
    ['PT_PSB_PERIODS', 'ebx', [31, 16], 'PSB frequencies, as a bitmap'],
  ],
};
