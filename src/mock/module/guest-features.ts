import { findVirtualCpuid, type TdConfiguration } from './td-params.js';

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
} as const;

export type GuestFeature = keyof typeof ATTRIBUTES | keyof typeof XFAM | keyof typeof CPUID;

export const isGuestFeature = (name: string): name is GuestFeature =>
  name in ATTRIBUTES || name in XFAM || name in CPUID;

/** Whether the TD has a feature, by its ATTRIBUTES, XFAM or CPUID values. */
export function hasFeature(configuration: TdConfiguration, feature: GuestFeature): boolean {
  if (feature in ATTRIBUTES) return (configuration.attributes & ATTRIBUTES[feature as keyof typeof ATTRIBUTES]) !== 0n;
  if (feature in XFAM) return (configuration.xfam & XFAM[feature as keyof typeof XFAM]) !== 0n;
  const [leaf, subleaf, register, position] = CPUID[feature as keyof typeof CPUID];
  return (((findVirtualCpuid(configuration, leaf, subleaf)?.[register] ?? 0) >>> position) & 1) === 1;
}
