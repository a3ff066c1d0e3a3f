import { entryAt, fieldOf } from '../cpuid-entries.js';
import type { TdHostFacts } from '../host-facts.js';
import { LEVEL, levelType, TOPOLOGY_SUBLEAVES } from '../topology.js';
import { filledLeaves } from './cpuid.js';
import type { InitVmRequest, Violation } from './violation.js';
import { violation } from './violation.js';

// Modules since 1.5.06 let MAXPA be configured; of the versions that can be told apart here that is the sign.
const isNewModule = ({ capabilities }: TdHostFacts): boolean =>
  fieldOf(entryAt(capabilities.cpuid, 0x8000_0008, 0)?.eax ?? 0, 7, 0) !== 0;

interface Level {
  readonly subleaf: number;
  readonly type: number;
  readonly number: number;
}

/** What is wrong with level types: they ascend to the first sub-leaf without one, and CORE is among them. */
function wrongTypes(levels: readonly Level[]): string | undefined {
  let previous = 0;
  let core = false;
  for (const { subleaf, type } of levels) {
    if (type === LEVEL.NONE) {
      // A sub-leaf without a level ends a list of levels; what follows is judged as another list.
      if (previous === 0 && !core) return `sub-leaf ${subleaf} ends the list before any level`;
      if (!core) return `sub-leaf ${subleaf} ends the list, which has no CORE level (type 2)`;
      previous = 0;
      continue;
    }
    if (type > LEVEL.DIE) return `sub-leaf ${subleaf} has level type ${type}, and types are 1 to 5`;
    if (type <= previous) return `sub-leaf ${subleaf} has level type ${type} after ${previous}, and types ascend`;
    previous = type;
    core ||= type === LEVEL.CORE;
  }
  return core ? undefined : 'there is no CORE level (type 2)';
}

/** CPUID(0x1F) as KVM_TDX_INIT_VM gets it; leaves that are not given are zeros to the module. */
export function checkTopology({ cpuid }: InitVmRequest, host: TdHostFacts): Violation[] {
  const given = filledLeaves(cpuid, host).filter((leaf) => leaf.function === 0x1f);
  if (given.length === 0) return [];
  const at = { field: 'cpuid', entry: given[0]!.position } as const;
  const entries = TOPOLOGY_SUBLEAVES.map((subleaf) => entryAt(given, 0x1f, subleaf));
  const first = entries[0];
  const rest = entries.slice(1);
  const isZero = (entry: (typeof entries)[number]) => !entry || (entry.eax | entry.ebx | entry.ecx | entry.edx) === 0;
  if (isZero(first)) {
    if (rest.every(isZero)) return [];
    const what = 'CPUID(0x1F) has levels, but sub-leaf 0, which asks for the topology of the host, is all zero';
    return [violation('module.mng-init.topology', 'error', at, what)];
  }
  const levels = entries.map((entry, subleaf) => ({
    subleaf,
    type: levelType(entry?.ecx ?? 0),
    number: fieldOf(entry?.ecx ?? 0, 7, 0),
  }));
  const wrong = wrongTypes(levels);
  const found =
    wrong === undefined ? [] : [violation('module.mng-init.topology', 'error', at, `CPUID(0x1F): ${wrong}`)];
  const severity = isNewModule(host) ? 'error' : 'warning';
  for (const { subleaf, type, number } of levels) {
    if (type === LEVEL.NONE) continue;
    if (number !== subleaf) {
      const what = `CPUID(0x1F) sub-leaf ${subleaf} has ${number} in ECX[7:0]; modules since 1.5.06 want ${subleaf}`;
      found.push(violation('module.mng-init.topology-sub-leaf', severity, at, what));
    }
    if (type === LEVEL.SMT && subleaf !== 0) {
      const what = `CPUID(0x1F) sub-leaf ${subleaf} is the SMT level; modules since 1.5.06 want it in sub-leaf 0`;
      found.push(violation('module.mng-init.topology-sub-leaf', severity, at, what));
    }
  }
  return found;
}
