import type { Td } from './td.js';
import { findVirtualCpuid } from './td-params.js';

const bit = (position: number): bigint => 1n << BigInt(position);

const ATTRIBUTES = { perfmon: bit(63), pks: bit(30) } as const;
const XFAM = { pt: bit(8), cet: bit(11), uli: bit(14), lbr: bit(15) } as const;

/** Bits of a TD's CPUID that decide which instructions and MSRs it has (tdh_mng_init.c, cpuid_flags). */
const CPUID = {
  monitor: [1, null, 'ecx', 3],
  dca: [1, null, 'ecx', 18],
  'tsc-deadline': [1, null, 'ecx', 24],
  tsx: [7, 0, 'ebx', 4],
  umwait: [7, 0, 'ecx', 5],
  tme: [7, 0, 'ecx', 13],
  pconfig: [7, 0, 'edx', 18],
  xfd: [0xd, 1, 'eax', 4],
  est: [1, null, 'ecx', 7],
  xtpr: [1, null, 'ecx', 14],
  tm2: [1, null, 'ecx', 8],
  mtrr: [1, null, 'edx', 12],
  mca: [1, null, 'edx', 14],
  acpi: [1, null, 'edx', 22],
  'rdt-m': [7, 0, 'ebx', 12],
  'rdt-a': [7, 0, 'ebx', 15],
  'core-capabilities': [7, 0, 'edx', 30],
} as const;

const TD_CTLS_REDUCE_VE = 1n << 3n;

/** With TD_CTLS.REDUCE_VE a guest chooses these with FEATURE_PARAVIRT_CTLS (helpers.c update_mutable_cpuid_flags). */
const PARAVIRT: Partial<Record<GuestFeature, bigint>> = {
  'core-capabilities': bit(0),
  dca: bit(1),
  est: bit(2),
  mca: bit(3),
  mtrr: bit(4),
  pconfig: bit(5),
  'rdt-a': bit(6),
  'rdt-m': bit(7),
  acpi: bit(8),
  tm2: bit(9),
  tme: bit(10),
  'tsc-deadline': bit(11),
};

/** Without REDUCE_VE their MSRs are the host's, whatever CPUID says. */
const OF_THE_HOST: ReadonlySet<GuestFeature> = new Set<GuestFeature>(['mca', 'mtrr', 'core-capabilities']);

export const reducesVe = ({ tdCtls }: Td): boolean => (tdCtls & TD_CTLS_REDUCE_VE) !== 0n;

export type GuestFeature = keyof typeof ATTRIBUTES | keyof typeof XFAM | keyof typeof CPUID;

export const isGuestFeature = (name: string): name is GuestFeature =>
  name in ATTRIBUTES || name in XFAM || name in CPUID;

/** Whether the TD has a feature, by its ATTRIBUTES, XFAM or CPUID values, and by what its guest chose. */
export function hasFeature(td: Td, feature: GuestFeature): boolean {
  const configuration = td.configuration!;
  if (feature in ATTRIBUTES) return (configuration.attributes & ATTRIBUTES[feature as keyof typeof ATTRIBUTES]) !== 0n;
  if (feature in XFAM) return (configuration.xfam & XFAM[feature as keyof typeof XFAM]) !== 0n;
  const chosen = PARAVIRT[feature];
  if (chosen !== undefined && reducesVe(td) && !(td.featureParavirtCtls & chosen)) return false;
  if (OF_THE_HOST.has(feature) && !reducesVe(td)) return true;
  const [leaf, subleaf, register, position] = CPUID[feature as keyof typeof CPUID];
  return (((findVirtualCpuid(configuration, leaf, subleaf)?.[register] ?? 0) >>> position) & 1) === 1;
}
