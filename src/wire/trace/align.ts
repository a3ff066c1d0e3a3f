/** An element of either list, or one of each that belong together. */
export interface Pair<T> {
  a?: T;
  b?: T;
}

/** Above this product of lengths, what lies between common ends is compared in windows: memory is bounded. */
const MAX_CELLS = 4_000_000;

/**
 * Lays two lists side by side so that as many elements as possible with the same key meet, in order (longest common
 * subsequence). Elements of one list without a partner stand alone.
 */
export function align<T>(a: readonly T[], b: readonly T[], keyOf: (element: T) => string): Pair<T>[] {
  const [keysA, keysB] = [a.map(keyOf), b.map(keyOf)];
  let start = 0;
  while (start < a.length && start < b.length && keysA[start] === keysB[start]) start++;
  let end = 0;
  while (end < a.length - start && end < b.length - start && keysA.at(-1 - end) === keysB.at(-1 - end)) end++;
  const pairs: Pair<T>[] = [];
  const meet = (i: number, j: number) => pairs.push({ a: a[i]!, b: b[j]! });
  for (let i = 0; i < start; i++) meet(i, i);
  for (const [i, j] of middle(keysA.slice(start, a.length - end), keysB.slice(start, b.length - end))) {
    if (i === undefined) pairs.push({ b: b[start + j!]! });
    else if (j === undefined) pairs.push({ a: a[start + i]! });
    else meet(start + i, start + j);
  }
  for (let i = end; i > 0; i--) meet(a.length - i, b.length - i);
  return pairs;
}

type Step = readonly [number | undefined, number | undefined];

/** The longest common subsequence of two lists as steps through both. */
function middle(a: readonly string[], b: readonly string[]): Step[] {
  const window = Math.max(Math.floor(MAX_CELLS / Math.max(b.length, 1)), 1);
  if (a.length > window) {
    const half = Math.floor((b.length * window) / a.length);
    const shift = ([i, j]: Step): Step => [i === undefined ? i : i + window, j === undefined ? j : j + half];
    return [...middle(a.slice(0, window), b.slice(0, half)), ...middle(a.slice(window), b.slice(half)).map(shift)];
  }
  const width = b.length + 1;
  const lengths = new Uint32Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      lengths[i * width + j] =
        a[i] === b[j]
          ? lengths[(i + 1) * width + j + 1]! + 1
          : Math.max(lengths[(i + 1) * width + j]!, lengths[i * width + j + 1]!);
  const steps: Step[] = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) steps.push([i++, j++]);
    else if (j >= b.length || (i < a.length && lengths[(i + 1) * width + j]! >= lengths[i * width + j + 1]!))
      steps.push([i++, undefined]);
    else steps.push([undefined, j++]);
  }
  return steps;
}
