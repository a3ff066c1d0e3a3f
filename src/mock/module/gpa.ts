import type { TdxOperandName } from '../../kvm/status.js';
import type { Call } from './call.js';
import type { ModuleFeatures } from './facts.js';
import { PAGE_4K } from './pamt.js';
import { type Refusal, refuse, type SeamcallRuleId } from './refusal.js';
import { architecturalEntry, architecturalInfo, type SeptWalk, walkSept } from './sept.js';
import type { Td } from './td.js';

/** Width of guest-physical addresses: the SHARED bit is the topmost one. */
export const gpaWidth = (td: Td): number => (td.configuration!.gpaw ? 52 : 48);

const MAX_PA = 52;

/** Private GPAs of a TD are below 2^this (check_gpa_validity; 1.5.06: virtual MAXPA, of which 0 counts as 52). */
export function privateGpaBits(features: ModuleFeatures, td: Td): number {
  const width = gpaWidth(td) - 1;
  return features.virtualMaxPa ? Math.min(width, td.configuration!.virtMaxpa || MAX_PA) : width;
}

/** The GPA as a number, which must be private and within the TD's width. */
export function checkGpa(call: Call, td: Td, gpa: bigint): number {
  if (gpa >> BigInt(privateGpaBits(call.module.facts.features, td)) !== 0n) throw refuse('module.gpa.private', 'RCX');
  return Number(gpa);
}

/** GPA mapping info in RCX: level in bits 2:0, GPA in 51:12; the rest is 0 and the GPA aligned to the level. */
export function checkGpaAndLevel(
  call: Call,
  td: Td,
  minLevel: number,
  maxLevel: number,
): { gpa: number; level: number } {
  const level = Number(call.rcx & 7n);
  const gpa = call.rcx - BigInt(level);
  const valid = gpa < 1n << 52n && level >= minLevel && level <= maxLevel && Number(gpa) % 2 ** (12 + 9 * level) === 0;
  if (!valid) throw refuse('module.gpa.mapping-info', 'RCX');
  return { gpa: checkGpa(call, td, gpa), level };
}

export const walkTo = (td: Td, gpa: number, level: number): SeptWalk => walkSept(td.septRoot, td.rootLevel, gpa, level);

/** The refusal `rule`, with the entry that caused it in RCX and RDX. */
export function septFailure(call: Call, walk: SeptWalk, rule: SeamcallRuleId, operand: TdxOperandName): Refusal {
  call.out.rcx = architecturalEntry(walk.entry);
  call.out.rdx = architecturalInfo(walk.entry, walk.level);
  return refuse(rule, operand);
}

/** Walks to exactly `level`. */
export function walkExactly(call: Call, td: Td, gpa: number, level: number): SeptWalk {
  const walk = walkTo(td, gpa, level);
  if (walk.level !== level) throw septFailure(call, walk, 'module.sept.walk', 'RCX');
  return walk;
}

/** What calls on any one entry of the secure EPT begin with. RCX: GPA and level, RDX: TDR; both are cleared first. */
export function walkToOperand(call: Call): { td: Td; gpa: number; walk: SeptWalk } {
  call.out.rcx = 0n;
  call.out.rdx = 0n;
  const td = call.td(call.rdx, 'RDX', false);
  call.checkState(td);
  const { gpa, level } = checkGpaAndLevel(call, td, 0, td.rootLevel);
  return { td, gpa, walk: walkExactly(call, td, gpa, level) };
}

/** Physical address of the 4 KiB page that holds `gpa`, under the leaf where `walk` ended. */
export const pageOf = (walk: SeptWalk, gpa: number): number => {
  const hpa = walk.entry!.hpa;
  if (walk.level === 0) return hpa;
  const within = gpa % 2 ** (12 + 9 * walk.level);
  return hpa + within - (within % PAGE_4K);
};
