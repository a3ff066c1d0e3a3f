import { entryAt } from '../../td/cpuid-entries.js';
import type { TdHostFacts } from '../../td/host-facts.js';
import { REGISTERS } from '../expression/ast.js';
import type { Bits } from '../partial/bits.js';
import { type HostKnowledge, PartialHost } from '../partial/host.js';
import type { CompiledRules } from '../rules.js';
import type { CpuidHost } from './host.js';

const U32 = 0xffff_ffff;

// Bits that KVM takes out of the capabilities although the module lists them (tdx_clear_unsupported_cpuid): HLE, RTM, WAITPKG.
const hiddenByKvm = (leaf: number, subleaf: number | null, register: number): number =>
  leaf !== 7 || subleaf !== 0 ? 0 : register === 1 ? 0x810 : register === 2 ? 0x20 : 0;

/**
 * Native bits that the capabilities betray: a module lists an allowed bit as configurable where the processor has it
 * (1.5.05 and later), and what a processor does not have is not listed.
 */
function betrayedBits(rules: CompiledRules, { capabilities }: TdHostFacts): (Bits | undefined)[] {
  if (!rules.document.sysInfo.cpuidConfigBits.includes('allowed')) return [];
  return rules.entries.flatMap(({ leaf, subleaf, config, allowed }) =>
    REGISTERS.map((name, r) => {
      if (config < 0) return undefined;
      const listed = entryAt(capabilities.cpuid, leaf, subleaf ?? 0)?.[name] ?? 0;
      const told = (allowed[r]! & ~hiddenByKvm(leaf, subleaf, r)) >>> 0;
      return { value: BigInt((listed & told) >>> 0), unknown: BigInt((~told & U32) >>> 0), guest: 0n };
    }),
  );
}

const made = new WeakMap<CpuidHost, PartialHost>();

/** The host as its module's rules see it, made once. */
export function partialHost(host: CpuidHost & { rules: CompiledRules }): PartialHost {
  const known = made.get(host);
  if (known) return known;
  const knowledge: HostKnowledge = { ...host.platform };
  if (!host.platform?.cpuid && host.facts) knowledge.native = betrayedBits(host.rules, host.facts);
  const partial = new PartialHost(host.rules, knowledge);
  made.set(host, partial);
  return partial;
}
