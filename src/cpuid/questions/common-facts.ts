import type { CpuidEntry } from '../../kvm/cpuid.js';
import { entryAt } from '../../td/cpuid-entries.js';
import type { TdHostFacts } from '../../td/host-facts.js';
import { tdTscKhz } from '../../td/tsc.js';
import { CPUID_REGISTERS, type CpuidRegister, featuresAt } from '../names.js';
import type { CompiledRules } from '../rules.js';
import type { CpuidHost } from './host.js';
import { partialHost } from './knowledge.js';
import { askTd } from './td-params.js';

/** What a host offers; of one whose kernel is not known, what its module offers. @throws TypeError where neither is known. */
export function factsOf(host: CpuidHost): TdHostFacts {
  if (host.facts) return host.facts;
  if (!host.rules)
    throw new TypeError(`${host.name}: neither the rules of its module nor what its kernel says is known`);
  return askTd(host, partialHost(host as CpuidHost & { rules: CompiledRules }), {}).facts;
}

const at = (entries: readonly CpuidEntry[], { function: leaf, index }: CpuidEntry, register: CpuidRegister): number =>
  entryAt(entries, leaf, index)?.[register] ?? 0;

/** Bits of fields that are numbers, such as a cache's size: they cannot be had in part. */
function numberBits({ function: leaf, index }: CpuidEntry, register: CpuidRegister): number {
  if (leaf === 4) return 0xffff_ffff;
  const fields = featuresAt(leaf, index, register).filter(({ high, low }) => high !== low);
  return fields.reduce((mask, field) => (mask | field.mask) >>> 0, 0);
}

/** Configurable everywhere. */
function commonMasks(all: readonly TdHostFacts[]): CpuidEntry[] {
  const [first, ...rest] = all;
  return first!.capabilities.cpuid.flatMap((entry) => {
    if (!rest.every(({ capabilities }) => entryAt(capabilities.cpuid, entry.function, entry.index))) return [];
    const common = { ...entry };
    for (const register of CPUID_REGISTERS) {
      common[register] = rest.reduce(
        (mask, { capabilities }) => (mask & at(capabilities.cpuid, entry, register)) >>> 0,
        entry[register],
      );
    }
    return [common];
  });
}

/** Features that every host has; numbers are those of the first. */
function commonValues(all: readonly TdHostFacts[], masks: readonly CpuidEntry[]): CpuidEntry[] {
  const [first, ...rest] = all;
  return masks.map((entry) => {
    const common = { ...entry };
    for (const register of CPUID_REGISTERS) {
      const value = at(first!.supportedCpuid, entry, register);
      const numbers = numberBits(entry, register);
      const features = rest.reduce((bits, { supportedCpuid }) => bits & at(supportedCpuid, entry, register), value);
      common[register] = ((value & numbers) | (features & ~numbers)) >>> 0;
    }
    return common;
  });
}

const lowest = (values: readonly number[]): number => values.reduce((a, b) => Math.min(a, b), Number.MAX_SAFE_INTEGER);

/** What all hosts offer, as if one did. */
export function commonFacts(all: readonly TdHostFacts[]): TdHostFacts {
  const first = all[0]!;
  const cpuid = commonMasks(all);
  const every = (pick: (facts: TdHostFacts) => bigint): bigint =>
    all.reduce((mask, facts) => mask & pick(facts), pick(first));
  return {
    ...first,
    capabilities: {
      ...first.capabilities,
      supportedAttrs: every(({ capabilities }) => capabilities.supportedAttrs),
      supportedXfam: every(({ capabilities }) => capabilities.supportedXfam),
      cpuid,
    },
    supportedCpuid: commonValues(all, cpuid),
    maxVcpus: lowest(all.map(({ maxVcpus }) => maxVcpus)),
    systemMaxVcpus: lowest(all.map(({ systemMaxVcpus }) => systemMaxVcpus)),
    maxVcpusSettable: all.every(({ maxVcpusSettable }) => maxVcpusSettable),
    tscKhz: lowest(all.map(({ tscKhz }) => tdTscKhz(tscKhz))),
    fiveLevelEpt: all.every(({ fiveLevelEpt }) => fiveLevelEpt === true) ? true : first.fiveLevelEpt && undefined,
  };
}
