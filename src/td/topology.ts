import type { CpuidEntry } from '../kvm/cpuid.js';
import { fieldOf, type RegisterValues } from './cpuid-entries.js';

/** Level types of CPUID leaves 0xB and 0x1F (Intel SDM). */
export const LEVEL = { NONE: 0, SMT: 1, CORE: 2, MODULE: 3, TILE: 4, DIE: 5 } as const;

/** Sub-leaves of leaf 0x1F that a module lets a TD configure (1.5.05 and newer). */
export const TOPOLOGY_SUBLEAVES = [0, 1, 2, 3, 4, 5] as const;

const log2Up = (count: number): number => Math.ceil(Math.log2(count));

/** The smallest power of two that is at least `count`: topology counts ids, and ids come in powers of two. */
export const idsFor = (count: number): number => 2 ** log2Up(count);

/** One sub-leaf of leaf 0x1F for `vcpus` cores of one thread each in one package. */
export function topologyLevel(vcpus: number, subleaf: number): RegisterValues {
  if (subleaf === 0) return { eax: 0, ebx: 1, ecx: LEVEL.SMT << 8, edx: 0 };
  if (subleaf === 1) return { eax: log2Up(vcpus), ebx: vcpus & 0xffff, ecx: (LEVEL.CORE << 8) | 1, edx: 0 };
  return { eax: 0, ebx: 0, ecx: subleaf, edx: 0 };
}

export const levelType = (ecx: number): number => fieldOf(ecx, 15, 8);

/**
 * Leaf 0xB, which knows SMT and core only, of the levels of leaf 0x1F: the core level covers the package, as the TDX module
 * (1.5.06) derives it.
 */
export function leafBOf(levels: readonly CpuidEntry[]): RegisterValues[] {
  const used = levels.filter(({ ecx }) => levelType(ecx) !== LEVEL.NONE);
  const last = used.at(-1);
  if (last === undefined) return [];
  const smt = used.filter(({ ecx }) => levelType(ecx) === LEVEL.SMT).slice(0, 1);
  const core = { eax: last.eax, ebx: last.ebx, ecx: (LEVEL.CORE << 8) | smt.length, edx: 0 };
  return [...smt, core, { eax: 0, ebx: 0, ecx: smt.length + 1, edx: 0 }];
}
