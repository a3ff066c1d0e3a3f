import type { LeafNames } from './table.js';

// Intel SDM volume 2, CPUID.

export const LEAF_4: LeafNames = {
  leaf: 4,
  subleaves: [0, 1, 2, 3],
  rows: [
    ['CACHE_TYPE', 'eax', [4, 0], 'Type of cache: 0 none, 1 data, 2 instruction, 3 unified'],
    ['CACHE_LEVEL', 'eax', [7, 5], 'Level of cache'],
    ['CACHE_SELF_INIT', 'eax', 8, 'Self-initialising'],
    ['CACHE_FULLY_ASSOCIATIVE', 'eax', 9, 'Fully associative'],
    ['CACHE_THREADS', 'eax', [25, 14], 'Ids of logical processors sharing it, minus 1'],
    ['CACHE_CORES', 'eax', [31, 26], 'Ids of cores in the package, minus 1'],
    ['CACHE_LINE_SIZE', 'ebx', [11, 0], 'Line size, minus 1'],
    ['CACHE_PARTITIONS', 'ebx', [21, 12], 'Line partitions, minus 1'],
    ['CACHE_WAYS', 'ebx', [31, 22], 'Ways, minus 1'],
    ['CACHE_SETS', 'ecx', [31, 0], 'Sets, minus 1'],
    ['CACHE_WBINVD_LOCAL', 'edx', 0, 'WBINVD does not reach lower levels of other threads'],
    ['CACHE_INCLUSIVE', 'edx', 1, 'Inclusive of lower levels'],
    ['CACHE_COMPLEX_INDEX', 'edx', 2, 'Indexed by a complex function'],
  ],
};

export const LEAF_5: LeafNames = {
  leaf: 5,
  subleaves: [0],
  rows: [
    ['MONITOR_LINE_MIN', 'eax', [15, 0], 'Smallest monitor-line size, bytes'],
    ['MONITOR_LINE_MAX', 'ebx', [15, 0], 'Largest monitor-line size, bytes'],
    ['MWAIT_EXT', 'ecx', 0, 'MWAIT extensions are enumerated'],
    ['MWAIT_IRQ_BREAK', 'ecx', 1, 'Interrupts break MWAIT when disabled'],
    ['MWAIT_C0', 'edx', [3, 0], 'C0 sub-states'],
    ['MWAIT_C1', 'edx', [7, 4], 'C1 sub-states'],
    ['MWAIT_C2', 'edx', [11, 8], 'C2 sub-states'],
    ['MWAIT_C3', 'edx', [15, 12], 'C3 sub-states'],
    ['MWAIT_C4', 'edx', [19, 16], 'C4 sub-states'],
    ['MWAIT_C5', 'edx', [23, 20], 'C5 sub-states'],
    ['MWAIT_C6', 'edx', [27, 24], 'C6 sub-states'],
    ['MWAIT_C7', 'edx', [31, 28], 'C7 sub-states'],
  ],
};

export const LEAF_A: LeafNames = {
  leaf: 0xa,
  subleaves: [0],
  rows: [
    ['PMU_VERSION', 'eax', [7, 0], 'Version of architectural performance monitoring'],
    ['PMU_GP_COUNTERS', 'eax', [15, 8], 'General-purpose counters'],
    ['PMU_GP_WIDTH', 'eax', [23, 16], 'Bits of a general-purpose counter'],
    ['PMU_EVENTS', 'eax', [31, 24], 'Length of the event vector in EBX'],
    ['PMU_NO_CORE_CYCLES', 'ebx', 0, 'No core cycles event'],
    ['PMU_NO_INSTRUCTIONS', 'ebx', 1, 'No instructions retired event'],
    ['PMU_NO_REF_CYCLES', 'ebx', 2, 'No reference cycles event'],
    ['PMU_NO_LLC_REFS', 'ebx', 3, 'No last-level cache references event'],
    ['PMU_NO_LLC_MISSES', 'ebx', 4, 'No last-level cache misses event'],
    ['PMU_NO_BRANCHES', 'ebx', 5, 'No branches retired event'],
    ['PMU_NO_BRANCH_MISSES', 'ebx', 6, 'No mispredicted branches event'],
    ['PMU_NO_TOPDOWN_SLOTS', 'ebx', 7, 'No topdown slots event'],
    ['PMU_FIXED_BITMAP', 'ecx', [31, 0], 'Fixed counters, as a bitmap'],
    ['PMU_FIXED_COUNTERS', 'edx', [4, 0], 'Contiguous fixed counters'],
    ['PMU_FIXED_WIDTH', 'edx', [12, 5], 'Bits of a fixed counter'],
    ['ANYTHREAD_DEPRECATED', 'edx', 15, 'AnyThread is deprecated'],
  ],
};

const topology = (leaf: number, prefix: string, subleaves: readonly number[]): LeafNames => ({
  leaf,
  subleaves,
  rows: [
    [`${prefix}_SHIFT`, 'eax', [4, 0], 'Bits to shift the x2APIC id right to get the id of the next level'],
    [`${prefix}_CPUS`, 'ebx', [15, 0], 'Logical processors in this level'],
    [`${prefix}_LEVEL`, 'ecx', [7, 0], 'Number of the sub-leaf'],
    [`${prefix}_TYPE`, 'ecx', [15, 8], 'Level type: 0 none, 1 SMT, 2 core, 3 module, 4 tile, 5 die'],
    [`${prefix}_X2APIC_ID`, 'edx', [31, 0], 'x2APIC id of this processor'],
  ],
});

export const LEAF_B = topology(0xb, 'TOPOLOGY_B', [0, 1, 2]);
export const LEAF_1F = topology(0x1f, 'TOPOLOGY', [0, 1, 2, 3, 4, 5]);

export const LEAF_15: LeafNames = {
  leaf: 0x15,
  subleaves: [0],
  rows: [
    ['TSC_DENOMINATOR', 'eax', [31, 0], 'Denominator of TSC over crystal clock'],
    ['TSC_NUMERATOR', 'ebx', [31, 0], 'Numerator of TSC over crystal clock'],
    ['CRYSTAL_HZ', 'ecx', [31, 0], 'Crystal clock, Hz'],
  ],
};

export const LEAF_19: LeafNames = {
  leaf: 0x19,
  subleaves: [0],
  rows: [
    ['KL_CPL0_ONLY', 'eax', 0, 'CPL0-only restriction'],
    ['KL_NO_ENCRYPT', 'eax', 1, 'No-encrypt restriction'],
    ['KL_NO_DECRYPT', 'eax', 2, 'No-decrypt restriction'],
    ['AESKLE', 'ebx', 0, 'Key Locker instructions are enabled'],
    ['AESKL_WIDE', 'ebx', 2, 'Wide Key Locker instructions'],
    ['KL_BACKUP_MSRS', 'ebx', 4, 'Key Locker MSRs and key backup'],
    ['LOADIWKEY_NO_BACKUP', 'ecx', 0, 'NoBackup of LOADIWKEY'],
    ['IWKEY_RANDOM', 'ecx', 1, 'Random wrapping keys'],
  ],
};

export const LEAF_1C: LeafNames = {
  leaf: 0x1c,
  subleaves: [0],
  rows: [
    ['LBR_DEPTH_8', 'eax', 0, '8 last branch records'],
    ['LBR_DEPTH_16', 'eax', 1, '16 last branch records'],
    ['LBR_DEPTH_24', 'eax', 2, '24 last branch records'],
    ['LBR_DEPTH_32', 'eax', 3, '32 last branch records'],
    ['LBR_DEPTH_40', 'eax', 4, '40 last branch records'],
    ['LBR_DEPTH_48', 'eax', 5, '48 last branch records'],
    ['LBR_DEPTH_56', 'eax', 6, '56 last branch records'],
    ['LBR_DEPTH_64', 'eax', 7, '64 last branch records'],
    ['LBR_DEEP_C_RESET', 'eax', 30, 'Records may be lost in deep C-states'],
    ['LBR_LIP', 'eax', 31, 'Records hold linear addresses'],
    ['LBR_CPL', 'ebx', 0, 'Filtering by privilege level'],
    ['LBR_BRANCH_FILTER', 'ebx', 1, 'Filtering by kind of branch'],
    ['LBR_CALL_STACK', 'ebx', 2, 'Call-stack mode'],
    ['LBR_MISPREDICT', 'ecx', 0, 'Mispredict bit'],
    ['LBR_TIMED', 'ecx', 1, 'Cycle counts'],
    ['LBR_BRANCH_TYPE', 'ecx', 2, 'Branch type field'],
    ['LBR_EVENT_LOGGING', 'ecx', [19, 16], 'Counters whose events are logged'],
  ],
};

export const LEAF_1D_0: LeafNames = {
  leaf: 0x1d,
  subleaves: [0],
  rows: [['AMX_MAX_PALETTE', 'eax', [31, 0], 'Highest palette']],
};

export const LEAF_1D_1: LeafNames = {
  leaf: 0x1d,
  subleaves: [1],
  rows: [
    ['AMX_TOTAL_TILE_BYTES', 'eax', [15, 0], 'Bytes of all tiles of palette 1'],
    ['AMX_BYTES_PER_TILE', 'eax', [31, 16], 'Bytes of a tile'],
    ['AMX_BYTES_PER_ROW', 'ebx', [15, 0], 'Bytes of a row'],
    ['AMX_TILES', 'ebx', [31, 16], 'Tiles'],
    ['AMX_MAX_ROWS', 'ecx', [15, 0], 'Rows of a tile'],
  ],
};

export const LEAF_1E: LeafNames = {
  leaf: 0x1e,
  subleaves: [0],
  rows: [
    ['TMUL_MAXK', 'ebx', [7, 0], 'Rows or columns of a tile multiply'],
    ['TMUL_MAXN', 'ebx', [23, 8], 'Column bytes of a tile multiply'],
  ],
};

export const LEAF_23_0: LeafNames = {
  leaf: 0x23,
  subleaves: [0],
  rows: [
    ['PERFMON_SUBLEAVES', 'eax', [31, 0], 'Valid sub-leaves of leaf 0x23, as a bitmap'],
    ['PERFMON_UNITMASK2', 'ebx', 0, 'UnitMask2 of IA32_PERFEVTSELx'],
    ['PERFMON_EQ', 'ebx', 1, 'Equal bit of IA32_PERFEVTSELx', 'PERFMON_ZBIT'],
  ],
};
