import { expect, test } from 'vitest';
import {
  CPUID_FEATURES,
  cpuidPlace,
  describeCpuidBits,
  featureAtBit,
  featuresAt,
  findFeature,
  suggestFeature,
} from '../../src/cpuid/names.js';
import { spr } from './hosts.js';

test('no two names or aliases are the same, whatever their case and separators', () => {
  const spelt = CPUID_FEATURES.flatMap(({ name, aliases }) => [name, ...aliases]);
  const plain = spelt.map((name) => name.toUpperCase().replace(/[-_]/g, ''));
  expect(plain.filter((name, at) => plain.indexOf(name) !== at)).toEqual([]);
});

test('no two features of a register overlap', () => {
  for (const { leaf, subleaf, register } of CPUID_FEATURES) {
    const here = featuresAt(leaf, subleaf, register);
    const union = here.reduce((mask, feature) => (mask | feature.mask) >>> 0, 0);
    const bits = here.reduce((count, { high, low }) => count + high - low + 1, 0);
    expect(union.toString(2).replaceAll('0', ''), `leaf ${leaf}.${subleaf} ${register}`).toHaveLength(bits);
  }
});

// Places that Intel's SDM gives.
test.each([
  ['AVX512F', 'CPUID(0x7).EBX[16]'],
  ['HLE', 'CPUID(0x7).EBX[4]'],
  ['RTM', 'CPUID(0x7).EBX[11]'],
  ['WAITPKG', 'CPUID(0x7).ECX[5]'],
  ['CET_SS', 'CPUID(0x7).ECX[7]'],
  ['CET_IBT', 'CPUID(0x7).EDX[20]'],
  ['PKS', 'CPUID(0x7).ECX[31]'],
  ['AMX_TILE', 'CPUID(0x7).EDX[24]'],
  ['LAM', 'CPUID(0x7,1).EAX[26]'],
  ['LASS', 'CPUID(0x7,1).EAX[6]'],
  ['MCDT_NO', 'CPUID(0x7,2).EDX[5]'],
  ['XFD', 'CPUID(0xD,1).EAX[4]'],
  ['WBNOINVD', 'CPUID(0x80000008).EBX[9]'],
  ['GPAW', 'CPUID(0x80000008).EAX[23:16]'],
  ['TOPOLOGY_TYPE.1', 'CPUID(0x1F,1).ECX[15:8]'],
])('%s is %s', (name, place) => {
  const { leaf, subleaf, register, high, low } = findFeature(name)!;
  expect(cpuidPlace(leaf, subleaf, register, high, low)).toBe(place);
});

test('names are found in any case, with any separator, and by alias', () => {
  expect(findFeature('amx-bf16')?.name).toBe('AMX_BF16');
  expect(findFeature('shstk')?.name).toBe('CET_SS');
  expect(findFeature('Sse4.1')?.name).toBe('SSE4_1');
  expect(findFeature('AVX1024')).toBeUndefined();
});

test('a slip is answered with the name that was meant, nonsense with nothing', () => {
  expect(suggestFeature('AVX512_BF61')).toBe('AVX512_BF16');
  expect(suggestFeature('waitpgk')).toBe('WAITPKG');
  expect(suggestFeature('qqqqqqqq')).toBeUndefined();
});

test('set bits are described by their names, runs of unnamed ones together', () => {
  expect(describeCpuidBits(7, 0, 'ebx', 0x10810)).toBe('HLE (bit 4), RTM (bit 11), AVX512F (bit 16)');
  expect(describeCpuidBits(4, 0, 'eax', 0xffffc3ff)).toContain(
    'CACHE_THREADS.0 (bits 25:14), CACHE_CORES.0 (bits 31:26)',
  );
  expect(describeCpuidBits(0x99, 0, 'eax', 0xf1)).toBe('bit 0, bits 7:4');
});

test('every bit that a module of today lets a TD configure has a name', () => {
  const nameless = spr.capabilities.cpuid.flatMap((row) =>
    (['eax', 'ebx', 'ecx', 'edx'] as const).flatMap((register) =>
      Array.from({ length: 32 }, (_, bit) => bit)
        .filter((bit) => ((row[register] >>> bit) & 1) === 1)
        .filter((bit) => featureAtBit(row.function, row.index, register, bit) === undefined)
        .map((bit) => cpuidPlace(row.function, row.index, register, bit)),
    ),
  );
  // Reserved bits of leaf 4 that the module passes through.
  expect(nameless.filter((place) => !place.startsWith('CPUID(0x4'))).toEqual([]);
});
