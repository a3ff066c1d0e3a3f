import { hex } from '../../td/bits.js';
import { entryAt } from '../../td/cpuid-entries.js';
import type { Finding } from '../../td/finding.js';
import type { TdHostFacts } from '../../td/host-facts.js';
import type { ResolvedTd } from '../../td/resolve.js';
import { resolveTd } from '../../td/resolve.js';
import type { TdConfig } from '../../td/schema.js';
import { CPUID_REGISTERS, type CpuidRegister, describeCpuidBits } from '../names.js';
import { commonFacts, factsOf } from './common-facts.js';
import type { CpuidHost } from './host.js';
import { attributeNames, xfamNames } from './knobs.js';
import { describeDifferences, type HostDifference, makeSame } from './same.js';

/** What a host could have given a TD and does not. */
export interface HostLoss {
  xfam: readonly string[] | string;
  bits: readonly { leaf: number; subleaf: number; register: CpuidRegister; mask: number; names: string }[];
}

export interface BaselineHost {
  name: string;
  accepted: boolean | 'unknown';
  findings: readonly Finding[];
  loses: HostLoss;
}

export interface CpuidBaseline {
  /** For every host; CPUID is given whole, so that defaults do not differ between hosts. */
  config: TdConfig;
  /** Every host accepts it, and guests find the same everywhere. */
  same: boolean;
  /** What guests find otherwise on some hosts, whatever the configuration. */
  differences: readonly HostDifference[];
  hosts: readonly BaselineHost[];
}

/** The configuration with its CPUID, XFAM, ATTRIBUTES and TSC written out. */
function spelledOut(config: TdConfig, td: ResolvedTd): TdConfig {
  const cpuid = td.cpuid.flatMap(({ function: leaf, index: subleaf, ...entry }) => {
    const eax = leaf === 0x8000_0008 ? entry.eax & ~0x00ff_0000 : entry.eax;
    const registers = { eax, ebx: entry.ebx, ecx: entry.ecx, edx: entry.edx };
    const given = Object.entries(registers).filter(([, value]) => value !== 0);
    return given.length === 0
      ? []
      : [{ leaf: hex(leaf), subleaf, ...Object.fromEntries(given.map(([name, value]) => [name, hex(value >>> 0)])) }];
  });
  const { features: _, ...rest } = config;
  return {
    ...rest,
    attributes: attributeNames(td.attributes),
    xfam: xfamNames(td.xfam),
    ...(td.tscKhz !== 0 && { tscKhz: td.tscKhz }),
    cpuidBase: 'zero',
    cpuid,
  };
}

/** What `facts` would have allowed beyond `td`, in features that are on or off. */
function lossOf(facts: TdHostFacts, td: ResolvedTd): HostLoss {
  const full = resolveTd({}, facts);
  const bits = full.cpuid.flatMap(({ function: leaf, index: subleaf, ...had }) =>
    CPUID_REGISTERS.flatMap((register) => {
      const has = entryAt(td.cpuid, leaf, subleaf)?.[register] ?? 0;
      const mask = leaf === 4 || leaf === 0x1f ? 0 : (had[register] & ~has) >>> 0;
      return mask === 0
        ? []
        : [{ leaf, subleaf, register, mask, names: describeCpuidBits(leaf, subleaf, register, mask) }];
    }),
  );
  return { xfam: xfamNames(full.xfam & ~td.xfam), bits };
}

/**
 * The configuration that every host accepts and that shows guests the same CPUID everywhere: all that the hosts have in
 * common, less what would differ all the same. What no configuration makes the same is in `differences`.
 * @param config what is wanted in any case: vCPUs, attributes, features; XFAM, CPUID and TSC have what all hosts can do.
 * @throws RangeError without hosts.
 */
export function baselineCpuid(hosts: readonly CpuidHost[], config: TdConfig = {}): CpuidBaseline {
  if (hosts.length === 0) throw new RangeError('a baseline needs one host at least');
  const facts = hosts.map(factsOf);
  const wanted = spelledOut(config, resolveTd(config, commonFacts(facts)));
  const { config: common, all, left } = makeSame(hosts, wanted);
  const described = describeDifferences(all, left);
  const lost = all.map((evaluation, i) => ({
    name: evaluation.host.name,
    accepted: evaluation.accepted,
    findings: evaluation.findings,
    loses: lossOf(facts[i]!, evaluation.resolved),
  }));
  const same = described.length === 0 && lost.every(({ accepted }) => accepted !== false);
  return { config: common, same, differences: described, hosts: lost };
}
