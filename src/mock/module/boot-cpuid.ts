import type { Host } from '../../cpuid/index.js';
import type { RuleId } from '../../rulebook/index.js';
import type { BootRefusal } from './boot-status.js';
import { TopologyScan } from './boot-topology.js';

const LAST_BASE_LEAF_AT_LEAST = 0x1f;
const LAST_EXTENDED_LEAF_AT_LEAST = 0x8000_0008;

/** Samples native CPUID entry by entry, with the requirements of each (tdh_sys_init.c check_cpuid_configurations). */
export function sampleCpuid(host: Host): BootRefusal | undefined {
  const { entries } = host.rules;
  for (const [leaf, atLeast] of [
    [0, LAST_BASE_LEAF_AT_LEAST],
    [0x8000_0000, LAST_EXTENDED_LEAF_AT_LEAST],
  ] as const) {
    if (host.cpuid.read(leaf, null)[0] < atLeast) return { rule: 'module.sys-init.last-leaf', details: atLeast };
  }
  const topology = new TopologyScan(host);
  for (let i = 0; i < entries.length; i++) {
    const entry = entries[i]!;
    host.sample(i);
    const registers = host.native.subarray(i * 4, i * 4 + 4);
    const asRequired = registers.every((value, r) => (value & entry.verifyMask[r]!) >>> 0 === entry.verifyValue[r]!);
    if (!asRequired) return { rule: 'module.sys-init.cpuid-verify', rcx: entry.id };
    for (const { rule, holds, details, rcxIsLeaf } of entry.boot) {
      if (!holds(host.scope)) return { rule: rule as RuleId, details, rcx: rcxIsLeaf ? entry.id : 0n };
    }
    const refused = entry.leaf === 0x1f ? topology.visit(entry.subleaf ?? 0, registers) : undefined;
    if (refused) return refused;
    host.settle(i);
  }
  host.complete();
  return undefined;
}

/**
 * What TDH.SYS.LP.INIT compares on the one processor that there is: only CPUID(1).EAX can differ from what was sampled,
 * because the firmware gave that (tdh_sys_lp_init.c compare_cpuid_configuration).
 */
export function compareCpuid(host: Host): BootRefusal | undefined {
  const { entries } = host.rules;
  for (let i = 0; i < entries.length; i++) {
    const { leaf, subleaf, same, id } = entries[i]!;
    const last = host.cpuid.read(leaf < 0x8000_0000 ? 0 : 0x8000_0000, null)[0];
    if (leaf > last) continue;
    const now = host.read(leaf, subleaf);
    const differs = now.some((value, r) => ((value ^ host.native[i * 4 + r]!) & same[r]!) !== 0);
    if (differs) return { rule: 'module.sys-lp-init.cpuid-same', rcx: id };
  }
  return undefined;
}
