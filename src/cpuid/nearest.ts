/** Edits (insert, delete, replace) that make `b` of `a`. */
function distance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const replace = previous[column - 1]! + (a[row - 1] === b[column - 1] ? 0 : 1);
      current.push(Math.min(replace, previous[column]! + 1, current[column - 1]! + 1));
    }
    previous = current;
  }
  return previous[b.length]!;
}

const plain = (name: string) => name.toLowerCase().replace(/[^a-z0-9]/g, '');

/** The name of `names` that somebody who wrote `name` most likely meant, or undefined where none is near. */
export function nearestName(name: string, names: Iterable<string>): string | undefined {
  const wanted = plain(name).slice(0, 64);
  // A third of the letters may be wrong: enough for slips, too little for another word.
  let limit = Math.max(1, Math.floor(wanted.length / 3)) + 1;
  let best: string | undefined;
  for (const candidate of names) {
    const edits = distance(wanted, plain(candidate));
    if (edits < limit) [best, limit] = [candidate, edits];
  }
  return best;
}
