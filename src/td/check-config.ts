import { type CPUID_REGISTERS, cpuidPlace, findFeature } from '../cpuid/names.js';
import { entryAt, fieldOf, gpawOf } from './cpuid-entries.js';
import { type Finding, finding } from './finding.js';
import type { TdHostFacts } from './host-facts.js';
import { pathText } from './parse.js';
import type { TdConfig } from './schema.js';
import { toU32 } from './values.js';

/** The register value that `cpuid` gives to a place, with its path. */
function givenAt(config: TdConfig, leaf: number, subleaf: number, register: (typeof CPUID_REGISTERS)[number]) {
  return (config.cpuid ?? []).flatMap((entry, position) => {
    const value = entry[register];
    const here = toU32(entry.leaf) === leaf && toU32(entry.subleaf ?? 0) === subleaf;
    return here && value !== undefined ? [{ value: toU32(value), path: pathText(['cpuid', position, register]) }] : [];
  });
}

/** The same bits given twice with different values: a feature and a register, or the GPAW and leaf 0x80000008. */
export function checkConflicts(config: TdConfig): Finding[] {
  const found: Finding[] = [];
  const features = Object.entries(config.features ?? {});
  for (const [name, wanted] of features) {
    const feature = findFeature(name);
    if (feature === undefined) continue;
    const { leaf, subleaf, register, high, low } = feature;
    for (const { value, path } of givenAt(config, leaf, subleaf, register)) {
      const inRegister = fieldOf(value, high, low);
      if (inRegister === Number(wanted)) continue;
      const what = `${feature.name} is ${Number(wanted)}, and ${path} says ${inRegister}`;
      found.push(finding('config.conflict', pathText(['features', name]), 'error', what));
    }
  }
  const gpaw = config.gpaw ?? 48;
  const gpawFeature = features.filter(([name]) => findFeature(name)?.name === 'GPAW');
  const gpawGiven = [
    ...givenAt(config, 0x8000_0008, 0, 'eax').map(({ value, path }) => ({ bits: gpawOf(value), path })),
    ...gpawFeature.map(([name, value]) => ({ bits: Number(value), path: pathText(['features', name]) })),
  ];
  for (const { bits, path } of gpawGiven) {
    if (bits === 0 || bits === gpaw) continue;
    const what = `CPUID(0x80000008).EAX[23:16] is ${bits}, and gpaw is ${gpaw}`;
    const fix = 'Leave these bits at 0 and set gpaw';
    found.push(finding('config.conflict', path, 'error', what, { fix }));
  }
  return found;
}

/** Features that are to be off and that nobody can turn off: harmless to the kernel, but not what was asked for. */
export function checkUnconfigurableZeros(config: TdConfig, host: TdHostFacts): Finding[] {
  return Object.entries(config.features ?? {}).flatMap(([name, value]) => {
    const feature = findFeature(name);
    if (feature === undefined || Number(value) !== 0) return [];
    const { leaf, subleaf, register, high, low, mask } = feature;
    const configurable = entryAt(host.capabilities.cpuid, leaf, subleaf)?.[register] ?? 0;
    if ((configurable & mask) >>> 0 === mask) return [];
    const what = `${feature.name} (${cpuidPlace(leaf, subleaf, register, high, low)}) cannot be configured on this host; the module decides`;
    const fix = 'Read with KVM_TDX_GET_CPUID what the TD got';
    return [finding('module.mng-init.cpuid-config', pathText(['features', name]), 'note', what, { fix })];
  });
}
