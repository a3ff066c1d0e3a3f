import { unmetDependencies } from '../cpuid/dependencies.js';
import { CPUID_REGISTERS, type CpuidRegister, findFeature } from '../cpuid/names.js';
import { KVM_CPUID_FLAG_SIGNIFCANT_INDEX } from '../kvm/constants.js';
import type { CpuidEntry } from '../kvm/cpuid.js';
import { entryAt, fieldOf, type RegisterValues, withBits, withGpaw } from './cpuid-entries.js';
import type { TdHostFacts } from './host-facts.js';
import { pathText } from './parse.js';
import type { TdConfig } from './schema.js';
import { idsFor, levelType, TOPOLOGY_SUBLEAVES, topologyLevel } from './topology.js';
import { toU32 } from './values.js';

/** Where in the configuration an entry and its registers come from. */
export type EntryPaths = Readonly<Record<CpuidRegister | 'entry', string>>;

/** The CPUID entries of KVM_TDX_INIT_VM, and of each, at the same position, where it comes from. */
export interface CpuidPlan {
  readonly entries: CpuidEntry[];
  readonly paths: EntryPaths[];
}

// KVM finds entries by index where this flag is set, and gives an entry without it to every sub-leaf. On leaves without
// sub-leaves it changes nothing, so it is always set.
const flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
const ZERO: RegisterValues = { eax: 0, ebx: 0, ecx: 0, edx: 0 };
const HT = 1 << 28;

const topologyIsConfigurable = ({ capabilities }: TdHostFacts): boolean =>
  TOPOLOGY_SUBLEAVES.every((subleaf) => {
    const mask = entryAt(capabilities.cpuid, 0x1f, subleaf) ?? ZERO;
    return fieldOf(mask.eax, 4, 0) === 0x1f && fieldOf(mask.ebx, 15, 0) === 0xffff && levelType(mask.ecx) === 0xff;
  });

/** Leaf 4: who shares the cache, for one thread a core; a cache above level 2 serves the package. */
function cacheOf(host: RegisterValues, vcpus: number): RegisterValues {
  if (fieldOf(host.eax, 4, 0) === 0) return host;
  const sharing = fieldOf(host.eax, 7, 5) > 2 ? Math.min(idsFor(vcpus), 0x1000) - 1 : 0;
  const cores = Math.min(idsFor(vcpus), 64) - 1;
  return { ...host, eax: withBits(host.eax, 0xffff_c000, ((cores << 26) | (sharing << 14)) >>> 0) };
}

/** What a leaf has where nobody configured it, before it is masked: the host's values with the TD's own topology. */
function hostValues(leaf: number, subleaf: number, vcpus: number, host: TdHostFacts): RegisterValues {
  const native = entryAt(host.supportedCpuid, leaf, subleaf) ?? ZERO;
  if (leaf === 1) {
    // EAX 0 asks the module for the platform's family, model and stepping, which differ between packages at worst.
    const ebx = withBits(native.ebx, 0x00ff_0000, Math.min(vcpus, 255) << 16);
    return { ...native, eax: 0, ebx, edx: withBits(native.edx, HT, vcpus > 1 ? HT : 0) };
  }
  if (leaf === 4) return cacheOf(native, vcpus);
  if (leaf === 0x1f) return topologyIsConfigurable(host) ? topologyLevel(vcpus, subleaf) : ZERO;
  if (leaf === 0x8000_0008) return { ...native, eax: 0 };
  return native;
}

const allFrom = (path: string): EntryPaths => ({ entry: path, eax: path, ebx: path, ecx: path, edx: path });

/** What a TD has besides CPUID; CPUID bits may depend on it. */
export type TdMasks = Readonly<{ xfam: bigint; attributes: bigint }>;

/**
 * Entries of `cpuidBase`: every configurable leaf for "host", without bits that mean nothing in this TD; only the one that
 * KVM insists on for "zero".
 */
function baseEntries(config: TdConfig, td: TdMasks, host: TdHostFacts): CpuidEntry[] {
  const rows = host.capabilities.cpuid;
  if (config.cpuidBase === 'zero') return [{ function: 0x8000_0008, index: 0, flags, ...ZERO }];
  return rows.map(({ function: leaf, index, ...mask }) => {
    const values = hostValues(leaf, index, config.vcpus ?? 1, host);
    const masked = CPUID_REGISTERS.map((register) => {
      const idle = unmetDependencies(leaf, index, register, td);
      return [register, (values[register] & mask[register] & ~idle) >>> 0];
    });
    return { function: leaf, index, flags, ...(Object.fromEntries(masked) as Record<CpuidRegister, number>) };
  });
}

/** The CPUID entries of KVM_TDX_INIT_VM: `cpuidBase`, then `cpuid`, then `features`, then the GPAW over them. */
export function planCpuid(config: TdConfig, td: TdMasks, host: TdHostFacts): CpuidPlan {
  const entries = baseEntries(config, td, host);
  const paths: EntryPaths[] = entries.map(() => allFrom('cpuidBase'));
  const seen = new Set<CpuidEntry>();

  // The entry to write to; one that no host lists is made, so that its configuration can be reported.
  const entryFor = (leaf: number, index: number, path: string): number => {
    const found = entries.findIndex((entry) => entry.function === leaf && entry.index === index && !seen.has(entry));
    if (found >= 0) return found;
    entries.push({ function: leaf, index, flags, ...ZERO });
    return paths.push(allFrom(path)) - 1;
  };

  (config.cpuid ?? []).forEach((given, position) => {
    const path = pathText(['cpuid', position]);
    const at = entryFor(toU32(given.leaf), toU32(given.subleaf ?? 0), path);
    paths[at] = { ...paths[at]!, entry: path };
    seen.add(entries[at]!);
    for (const register of CPUID_REGISTERS) {
      const value = given[register];
      if (value === undefined) continue;
      entries[at]![register] = toU32(value);
      paths[at] = { ...paths[at]!, [register]: `${path}.${register}` };
    }
  });

  seen.clear();
  for (const [name, value] of Object.entries(config.features ?? {})) {
    const feature = findFeature(name);
    if (feature === undefined) continue;
    const { leaf, subleaf, register, mask, low } = feature;
    const known = entryAt(entries, leaf, subleaf) !== undefined;
    if (!known && Number(value) === 0) continue;
    const path = pathText(['features', name]);
    const at = entryFor(leaf, subleaf, path);
    entries[at]![register] = withBits(entries[at]![register], mask, (Number(value) * 2 ** low) >>> 0);
    paths[at] = { ...paths[at]!, [register]: path };
  }

  for (const entry of entries) {
    if (entry.function === 0x8000_0008 && entry.index === 0) entry.eax = withGpaw(entry.eax, config.gpaw ?? 48);
  }
  return { entries, paths };
}
