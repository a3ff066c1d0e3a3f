import { type CpuidRegister, findFeature } from './names.js';

/**
 * What makes a CPUID bit meaningless where a TD lacks it, whatever the module version: extended state (Intel SDM volume 1,
 * 13.1; the state components that an instruction set uses), or a TD attribute that grants a feature (Intel TDX module ABI,
 * ATTRIBUTES). QEMU has the same relation in tdx_xfam_deps and tdx_attrs_maps (target/i386/kvm/tdx.c).
 */
interface Dependency {
  /** Bits of XFAM, all of which it takes. */
  readonly xfam?: readonly number[];
  /** A bit of ATTRIBUTES. */
  readonly attribute?: number;
  /** Features by name. */
  readonly features?: readonly string[];
  /** Whole leaves. */
  readonly leaves?: readonly number[];
}

const AVX = [2] as const;
const AVX512 = [2, 5, 6, 7] as const;
const PT = [8] as const;
const PKRU = [9] as const;
const CET = [11, 12] as const;
const UINTR = [14] as const;
const LBR = [15] as const;
const AMX = [17, 18] as const;
const APX = [19] as const;

const LASS = 27;
const PKS = 30;
const KEY_LOCKER = 31;
const PERFMON = 63;

const DEPENDENCIES: readonly Dependency[] = [
  { xfam: AVX, features: ['AVX', 'F16C', 'FMA', 'AVX2', 'VAES', 'VPCLMULQDQ', 'SHA512', 'SM3', 'SM4'] },
  { xfam: AVX, features: ['AVX_VNNI', 'AVX_IFMA', 'AVX_VNNI_INT8', 'AVX_NE_CONVERT', 'AVX_VNNI_INT16'] },
  { xfam: AVX512, features: ['AVX512F', 'AVX512DQ', 'AVX512IFMA', 'AVX512PF', 'AVX512ER', 'AVX512CD', 'AVX512BW'] },
  { xfam: AVX512, features: ['AVX512VL', 'AVX512VBMI', 'AVX512_VBMI2', 'AVX512_VNNI', 'AVX512_BITALG'] },
  { xfam: AVX512, features: ['AVX512_VPOPCNTDQ', 'AVX512_4VNNIW', 'AVX512_4FMAPS', 'AVX512_VP2INTERSECT'] },
  { xfam: AVX512, features: ['AVX512_FP16', 'AVX512_BF16', 'AVX10'], leaves: [0x24] },
  { xfam: PT, features: ['INTEL_PT'], leaves: [0x14] },
  { xfam: PKRU, features: ['PKU'] },
  { xfam: CET, features: ['CET_SS', 'CET_IBT', 'CET_SSS'] },
  { xfam: UINTR, features: ['UINTR', 'UIRET_UIF'] },
  { xfam: LBR, features: ['ARCH_LBR'], leaves: [0x1c] },
  { xfam: AMX, features: ['AMX_BF16', 'AMX_TILE', 'AMX_INT8', 'AMX_FP16', 'AMX_COMPLEX'], leaves: [0x1d, 0x1e] },
  { xfam: APX, features: ['APX_F'] },
  { attribute: LASS, features: ['LASS'] },
  { attribute: PKS, features: ['PKS'] },
  { attribute: KEY_LOCKER, features: ['KL'], leaves: [0x19] },
  { attribute: PERFMON, features: ['ARCH_PERFMON_EXT'], leaves: [0xa, 0x23] },
];

interface Gate {
  readonly xfam: bigint;
  readonly attributes: bigint;
  readonly mask: number;
}

const place = (leaf: number, subleaf: number, register: CpuidRegister): string => `${leaf}:${subleaf}:${register}`;
const bitsOf = (bits: readonly number[]): bigint => bits.reduce((mask, bit) => mask | (1n << BigInt(bit)), 0n);

const byPlace = new Map<string, Gate[]>();
const byLeaf = new Map<number, Gate[]>();
const push = <K>(map: Map<K, Gate[]>, key: K, gate: Gate) => map.set(key, [...(map.get(key) ?? []), gate]);

for (const { xfam = [], attribute, features = [], leaves = [] } of DEPENDENCIES) {
  const needs = { xfam: bitsOf(xfam), attributes: attribute === undefined ? 0n : 1n << BigInt(attribute) };
  for (const name of features) {
    const { leaf, subleaf, register, mask } = findFeature(name)!;
    push(byPlace, place(leaf, subleaf, register), { ...needs, mask });
  }
  for (const leaf of leaves) push(byLeaf, leaf, { ...needs, mask: 0xffff_ffff });
}

/** Every name in the table, for its test. */
export const DEPENDENT_FEATURES: readonly string[] = DEPENDENCIES.flatMap(({ features = [] }) => features);

/** Bits of a register that mean nothing in a TD with these XFAM and ATTRIBUTES, as an unsigned 32-bit mask. */
export function unmetDependencies(
  leaf: number,
  subleaf: number,
  register: CpuidRegister,
  { xfam, attributes }: { xfam: bigint; attributes: bigint },
): number {
  const gates = [...(byPlace.get(place(leaf, subleaf, register)) ?? []), ...(byLeaf.get(leaf) ?? [])];
  const unmet = gates.filter((gate) => (gate.xfam & ~xfam) !== 0n || (gate.attributes & ~attributes) !== 0n);
  return unmet.reduce((mask, gate) => (mask | gate.mask) >>> 0, 0);
}
