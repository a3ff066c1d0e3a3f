import type { SeptEntry } from './sept.js';
import { SEPT } from './sept-state.js';

/** Bytes that an entry of each level covers. */
export const spanOf = (level: number): number => 2 ** (12 + 9 * level);

/** The first address that the entry of `level` for `gpa` covers. */
export const startOf = (level: number, gpa: number): number => gpa - (gpa % spanOf(level));

/** A leaf of the secure EPT that maps a page or a large page. */
export interface MappedLeaf {
  gpa: number;
  hpa: number;
  /** Bytes. */
  size: number;
}

/** All mapped leaves under an entry of the secure EPT that covers addresses from `gpa` on, the entry included. */
export function* mappedLeaves(entry: SeptEntry | undefined, level: number, gpa: number): Generator<MappedLeaf> {
  if (entry?.state === SEPT.MAPPED) yield { gpa, hpa: entry.hpa, size: spanOf(level) };
  if (entry?.state !== SEPT.NL_MAPPED || !entry.table) return;
  const span = spanOf(level - 1);
  for (const [i, child] of entry.table.entries()) if (child) yield* mappedLeaves(child, level - 1, gpa + i * span);
}
