import { isLeafState, SEPT, type SeptState } from './sept-state.js';

/** Levels of the secure EPT as in GPA mapping info: 0 is a 4 KiB page's, 3 the root of a 4-level tree. */
export type SeptLevel = number;

/** An entry of the secure EPT. */
export interface SeptEntry {
  state: SeptState;
  /** Physical address of the page or of the next table. */
  hpa: number;
  /** The next table of a non-leaf entry. */
  table?: SeptTable;
}

/** A page of 512 entries; absent ones are free. */
export type SeptTable = (SeptEntry | undefined)[];

export const newSeptTable = (): SeptTable => new Array<SeptEntry | undefined>(512);

/** Where a walk ended. */
export interface SeptWalk {
  table: SeptTable;
  index: number;
  /** Undefined where free. */
  entry: SeptEntry | undefined;
  level: SeptLevel;
}

/** Bytes that an entry of each level covers. */
const SPAN = [2 ** 12, 2 ** 21, 2 ** 30, 2 ** 39, 2 ** 48] as const;

const indexAt = (gpa: number, level: SeptLevel): number => Math.floor(gpa / SPAN[level]!) % 512;

/**
 * Walks from the root to `level`, or to the entry on the way that leads no further: free, blocked or a leaf
 * (sept_manager.c secure_ept_walk).
 */
export function walkSept(root: SeptTable, rootLevel: SeptLevel, gpa: number, level: SeptLevel): SeptWalk {
  let table = root;
  for (let current = rootLevel; ; current--) {
    const index = indexAt(gpa, current);
    const entry = table[index];
    if (current === level || entry?.state !== SEPT.NL_MAPPED || !entry.table)
      return { table, index, entry, level: current };
    table = entry.table;
  }
}

export const isEmpty = (table: SeptTable): boolean => table.every((entry) => entry === undefined);

const SUPPRESS_VE = 1n << 63n;
const LEAF_BITS = SUPPRESS_VE | (1n << 7n) | (1n << 6n) | (6n << 3n);
const RWX = 7n;

/** The entry as a host may see it in RCX (set_arch_septe_details_in_vmm_regs). */
export function architecturalEntry(entry: SeptEntry | undefined): bigint {
  if (!entry) return SUPPRESS_VE;
  const permissions = entry.state === SEPT.MAPPED || entry.state === SEPT.NL_MAPPED ? RWX : 0n;
  return isLeafState(entry.state) ? LEAF_BITS | BigInt(entry.hpa) | permissions : permissions;
}

/** Level in bits 2:0, state in bits 15:8, as a host sees them in RDX. */
export const architecturalInfo = (entry: SeptEntry | undefined, level: SeptLevel): bigint =>
  BigInt(level) | (BigInt(entry?.state ?? SEPT.FREE) << 8n);
