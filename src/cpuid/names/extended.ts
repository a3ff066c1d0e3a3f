import type { LeafNames } from './table.js';

// Intel SDM volume 2, CPUID leaves 0x80000001 to 0x80000008; AMD's bits where Linux's asm/cpufeatures.h names them too.

export const LEAF_80000001: LeafNames = {
  leaf: 0x8000_0001,
  subleaves: [0],
  rows: [
    ['LAHF_LM', 'ecx', 0, 'LAHF and SAHF in 64-bit mode', 'LAHF64'],
    ['LZCNT', 'ecx', 5, 'LZCNT instruction', 'ABM'],
    ['PREFETCHW', 'ecx', 8, 'PREFETCHW instruction', '3DNOWPREFETCH'],
    ['SYSCALL', 'edx', 11, 'SYSCALL and SYSRET, in 64-bit mode only'],
    ['NX', 'edx', 20, 'No-execute pages', 'XD'],
    ['GBPAGES', 'edx', 26, '1 GiB pages', 'PDPE1GB', 'PAGE1GB'],
    ['RDTSCP', 'edx', 27, 'RDTSCP instruction'],
    ['LM', 'edx', 29, '64-bit mode', 'LONG_MODE', 'INTEL64'],
  ],
};

export const LEAF_80000007: LeafNames = {
  leaf: 0x8000_0007,
  subleaves: [0],
  rows: [
    ['OVERFLOW_RECOV', 'ebx', 0, 'Machine-check overflow is recoverable'],
    ['SUCCOR', 'ebx', 1, 'Uncorrectable errors are contained'],
    ['SMCA', 'ebx', 3, 'Scalable machine-check architecture'],
    ['INVARIANT_TSC', 'edx', 8, 'The TSC runs at a constant rate in all states', 'INVTSC', 'CONSTANT_TSC'],
  ],
};

export const LEAF_80000008: LeafNames = {
  leaf: 0x8000_0008,
  subleaves: [0],
  rows: [
    ['MAXPA', 'eax', [7, 0], 'Bits of a physical address', 'MAXPHYADDR', 'PHYS_BITS'],
    ['MAXLA', 'eax', [15, 8], 'Bits of a linear address', 'LINEAR_BITS', 'VIRT_BITS'],
    ['GPAW', 'eax', [23, 16], 'Bits of a guest physical address', 'GUEST_PHYS_BITS'],
    ['CLZERO', 'ebx', 0, 'CLZERO instruction'],
    ['IRPERF', 'ebx', 1, 'Instructions retired count'],
    ['XSAVEERPTR', 'ebx', 2, 'XSAVE always saves error pointers'],
    ['WBNOINVD', 'ebx', 9, 'WBNOINVD instruction'],
    ['AMD_IBPB', 'ebx', 12, 'Indirect branch prediction barrier'],
    ['AMD_IBRS', 'ebx', 14, 'Indirect branch restricted speculation'],
    ['AMD_STIBP', 'ebx', 15, 'Single-thread indirect branch predictors'],
    ['AMD_SSBD', 'ebx', 24, 'Speculative store bypass disable'],
  ],
};
