import { CPUID_REGISTERS, type CpuidRegister, cpuidRegisterPlace, describeCpuidBits } from '../../cpuid/names.js';
import { KVM_CPUID_FLAG_SIGNIFCANT_INDEX } from '../../kvm/constants.js';
import type { CpuidEntry } from '../../kvm/cpuid.js';
import { entryAt } from '../cpuid-entries.js';
import type { TdHostFacts } from '../host-facts.js';
import { type InitVmRequest, type Violation, violation } from './violation.js';

/** KVM_MAX_CPUID_ENTRIES. */
const MAX_ENTRIES = 256;

export const hasIndexFlag = ({ flags }: CpuidEntry): boolean => (flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) !== 0;

/** kvm_find_cpuid_entry2: an entry without the flag stands for every sub-leaf. */
const matches = (entry: CpuidEntry, slot: CpuidEntry): boolean =>
  entry.function === slot.function && (!hasIndexFlag(entry) || entry.index === slot.index);

/** A configurable leaf as the module gets it, and the position of the entry that it comes from. */
export interface FilledLeaf extends CpuidEntry {
  readonly position: number;
  /** `index` of the entry, which differs where the entry lacks the flag. */
  readonly givenIndex: number;
}

/** What KVM makes of the entries (setup_tdparams_cpuids): for each configurable leaf the first entry that matches. */
export const filledLeaves = (cpuid: readonly CpuidEntry[], host: TdHostFacts): FilledLeaf[] =>
  host.capabilities.cpuid.flatMap((slot) => {
    const position = cpuid.findIndex((entry) => matches(entry, slot));
    const entry = cpuid[position];
    if (entry === undefined) return [];
    return { ...entry, function: slot.function, index: slot.index, position, givenIndex: entry.index };
  });

const leafName = ({ function: leaf, index }: CpuidEntry) =>
  `CPUID leaf 0x${leaf.toString(16)}${index === 0 ? '' : `, sub-leaf ${index}`}`;

/**
 * Leaves: unknown ones, repeated ones, and entries without KVM_CPUID_FLAG_SIGNIFCANT_INDEX that stand for more than one.
 * KVM only compares the number of leaves it filled with the number of entries, so what is wrong may also pass, and part of it be
 * dropped silently.
 */
export function checkLeaves({ cpuid }: InitVmRequest, host: TdHostFacts): Violation[] {
  if (cpuid.length > MAX_ENTRIES) {
    const what = `${cpuid.length} CPUID entries are given`;
    return [violation('kvm.init-vm.nent', 'error', { field: 'cpuid' }, what)];
  }
  const leaves = filledLeaves(cpuid, host);
  const refused = leaves.length !== cpuid.length;
  const severity = refused ? 'error' : 'warning';
  return cpuid.flatMap((entry, position) => {
    const at = { field: 'cpuid', entry: position } as const;
    const filled = leaves.filter((leaf) => leaf.position === position).length;
    if (filled > 1) {
      const what = `${leafName(entry)} has no KVM_CPUID_FLAG_SIGNIFCANT_INDEX and stands for ${filled} sub-leaves`;
      return [violation('trap.junk-leaves', severity, at, what)];
    }
    if (filled === 1) return [];
    const listed = host.capabilities.cpuid.some((slot) => matches(entry, slot));
    const what = listed
      ? `${leafName(entry)} is given more than once`
      : `${leafName(entry)} is not one that this host lets a TD configure`;
    if (!refused) {
      return [
        violation('trap.junk-leaves', severity, at, `${what}; KVM drops it silently`, { fix: 'Remove the entry' }),
      ];
    }
    const fix = listed ? 'Keep one entry for the leaf' : configurableLeaves(host);
    return [violation('kvm.init-vm.leaf-configurable', severity, at, what, { fix })];
  });
}

function configurableLeaves(host: TdHostFacts): string {
  const leaves = [...new Set(host.capabilities.cpuid.map((slot) => `0x${slot.function.toString(16)}`))];
  return `Remove it; the module gives the leaf its values. This host lets ${leaves.join(', ')} be configured`;
}

// Bits that tdx_clear_unsupported_cpuid takes out of the capabilities and KVM_TDX_INIT_VM refuses, by register of leaf 7.0.
const DENIED: Readonly<Partial<Record<CpuidRegister, number>>> = { ebx: (1 << 4) | (1 << 11), ecx: 1 << 5 };

/** Bits outside the configurable masks, each named. */
export function checkMasks({ cpuid }: InitVmRequest, host: TdHostFacts): Violation[] {
  return filledLeaves(cpuid, host).flatMap((entry) => {
    const mask = entryAt(host.capabilities.cpuid, entry.function, entry.index);
    if (mask === undefined) return [];
    return CPUID_REGISTERS.flatMap((register) => {
      const at = { field: 'cpuid', entry: entry.position, register } as const;
      const outside = (entry[register] & ~mask[register]) >>> 0;
      // KVM looks at the index of the entry, also of one that stands for every sub-leaf.
      const denied = entry.function === 7 && entry.givenIndex === 0 ? (DENIED[register] ?? 0) : 0;
      const place = cpuidRegisterPlace(entry.function, entry.index, register);
      const name = (bits: number) => describeCpuidBits(entry.function, entry.index, register, bits);
      const found: Violation[] = [];
      if ((outside & denied) !== 0) {
        const what = `${place} has ${name(outside & denied)}, which KVM denies to every TD`;
        found.push(violation('kvm.init-vm.tsx-waitpkg', 'error', at, what));
      }
      const others = (outside & ~denied) >>> 0;
      if (others !== 0) {
        const what = `${place} has ${name(others)}, which cannot be configured on this host`;
        found.push(violation('module.mng-init.cpuid-config', 'error', at, what));
      }
      return found;
    });
  });
}
