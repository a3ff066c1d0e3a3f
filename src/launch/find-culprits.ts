/** Thrown by a test that cannot be made; ends the search with what is known. */
export class SearchStopped extends Error {}

export interface Culprits<T> {
  /** Each of them fails by itself. */
  readonly culprits: readonly T[];
  /** Some of them fail, but the search stopped before it was known which. */
  readonly suspects: readonly T[];
  /** Why it stopped; undefined: it was complete. */
  readonly stopped?: string;
}

/** The length of the shortest failing prefix of `items`, which fail as a whole. `known` keeps the bounds if a test throws. */
function shortestFailingPrefix<T>(
  items: readonly T[],
  fails: (items: readonly T[]) => boolean,
  known: { passes: number; fails: number },
): number {
  const test = (length: number) => {
    if (fails(items.slice(0, length))) known.fails = length;
    else known.passes = length;
  };
  // From the front in doubling steps: the likely ones come first, and a culprit there is found without a single pass.
  for (let length = 1; length < known.fails && known.passes < length; length *= 2) test(length);
  while (known.fails - known.passes > 1) test((known.passes + known.fails) >> 1);
  return known.fails;
}

/**
 * Finds the items that make a test fail, where each of them does so by itself. Needs two tests for a culprit at the front, about
 * twice the logarithm of the length for others.
 * @param items the likeliest first.
 * @param fails tests some of them; may throw {@link SearchStopped}.
 * @param knownToFail all of them together fail; otherwise that is tested first.
 */
export function findCulprits<T>(
  items: readonly T[],
  fails: (items: readonly T[]) => boolean,
  knownToFail = true,
): Culprits<T> {
  const culprits: T[] = [];
  let rest = items;
  const known = { passes: 0, fails: items.length };
  try {
    if (!knownToFail && items.length > 0 && !fails(items)) return { culprits, suspects: [] };
    while (rest.length > 0) {
      Object.assign(known, { passes: 0, fails: rest.length });
      const length = shortestFailingPrefix(rest, fails, known);
      culprits.push(rest[length - 1]!);
      rest = rest.slice(length);
      Object.assign(known, { passes: 0, fails: rest.length });
      if (rest.length === 0 || !fails(rest)) return { culprits, suspects: [] };
    }
    return { culprits, suspects: [] };
  } catch (error) {
    if (!(error instanceof SearchStopped)) throw error;
    return { culprits, suspects: rest.slice(known.passes, known.fails), stopped: error.message };
  }
}
