import { and, type BitSet, count, equal, fullSet, isEmpty, minus, within } from './bitset.js';
import type { Variable, VariableKind } from './variables.js';

/** A variable and the experiments in which it holds. */
export interface Column {
  variable: Variable;
  holds: BitSet;
  fails: BitSet;
}

/** A condition, or with `negated` its opposite. */
export interface Term {
  column: Column;
  negated: boolean;
}

/** How a bit follows from the settings. */
export type Fit =
  | { kind: 'constant'; value: 0 | 1 }
  /** All terms hold; with `any`, one of them does. */
  | { kind: 'terms'; any: boolean; terms: readonly Term[] }
  | { kind: 'none' };

// What explains as much is rather the XFAM or an attribute than some configured bit that happened to be set.
const RANK: Readonly<Record<VariableKind, number>> = {
  xfam: 0,
  attribute: 1,
  topology: 2,
  gpaw: 3,
  tsc: 4,
  vcpus: 5,
  config: 6,
};

const holdsIn = ({ column, negated }: Term): BitSet => (negated ? column.fails : column.holds);

/**
 * The shortest explanation of a bit by all of some conditions, or by any of some.
 * @param response the experiments in which the bit is 1. @param size how many there are.
 * @param own the configured bit in the same place, which is the first to be believed.
 */
export function fitBit(response: BitSet, size: number, columns: readonly Column[], own: Column | undefined): Fit {
  const all = fullSet(size);
  if (isEmpty(response)) return { kind: 'constant', value: 0 };
  if (equal(response, all)) return { kind: 'constant', value: 1 };
  if (own && equal(response, own.holds)) return { kind: 'terms', any: false, terms: [{ column: own, negated: false }] };
  const conjunction = conjoin(response, all, columns, own);
  // Any of a, b is the opposite of all of !a, !b.
  const opposite = conjoin(minus(all, response), all, columns, own);
  const disjunction = opposite?.map(({ column, negated }) => ({ column, negated: !negated }));
  if (!conjunction && !disjunction) return { kind: 'none' };
  const any = cost(disjunction, own) < cost(conjunction, own);
  return { kind: 'terms', any, terms: (any ? disjunction : conjunction) ?? [] };
}

/** Fewer conditions are better, and any with the bit's own configuration among them better than any without. */
const cost = (terms: readonly Term[] | undefined, own: Column | undefined): number =>
  terms === undefined ? 1000 : terms.length + (terms.some((t) => t.column === own && !t.negated) ? 0 : 100);

/** Conditions that all hold in exactly the experiments of `response`, as few as can be found. */
function conjoin(
  response: BitSet,
  all: BitSet,
  columns: readonly Column[],
  own: Column | undefined,
): Term[] | undefined {
  // Those that hold whenever the bit is 1; together they must fail whenever it is 0.
  const possible: Term[] = [];
  for (const column of columns)
    for (const negated of [false, true])
      if (within(response, negated ? column.fails : column.holds)) possible.push({ column, negated });
  let open = minus(all, response);
  const chosen: Term[] = [];
  const choose = (term: Term): void => {
    chosen.push(term);
    open = and(open, holdsIn(term));
  };
  const ownTerm = possible.find(({ column }) => column === own);
  if (ownTerm) choose(ownTerm);
  while (!isEmpty(open)) {
    let best: Term | undefined;
    let bestScore = 0;
    for (const term of possible) {
      const score = count(minus(open, holdsIn(term))) * 16 - RANK[term.column.variable.kind];
      if (score > bestScore && !equal(and(open, holdsIn(term)), open)) [best, bestScore] = [term, score];
    }
    if (!best) return undefined;
    choose(best);
  }
  // What was chosen early may have become superfluous; the bit's own configuration is the last to go.
  const order = [...chosen].sort((a, b) => RANK[b.column.variable.kind] - RANK[a.column.variable.kind]);
  if (ownTerm) order.push(...order.splice(order.indexOf(ownTerm), 1));
  for (const term of order) {
    const rest = chosen.filter((other) => other !== term);
    if (rest.length === 0) continue;
    if (
      equal(
        rest.reduce((sum, other) => and(sum, holdsIn(other)), all),
        response,
      )
    )
      chosen.splice(chosen.indexOf(term), 1);
  }
  return chosen.sort((a, b) => RANK[a.column.variable.kind] - RANK[b.column.variable.kind]);
}

/** Varied by itself: neither part of XFAM, some bits of which imply others, nor one of a topology's level types, as these do. */
const isIndependent = ({ variable: { kind, text } }: Column): boolean =>
  kind !== 'xfam' && kind !== 'topology' && !/\(0x1f\.\d+\.ecx/.test(text);

/** Whether another condition, no less likely, would explain a bit as well as one of its terms: more experiments can tell. */
export function isDoubtful(
  { any, terms }: Extract<Fit, { kind: 'terms' }>,
  response: BitSet,
  size: number,
  columns: readonly Column[],
  own: Column | undefined,
): boolean {
  const all = fullSet(size);
  // Any of some is looked at as its opposite, all of their opposites.
  const wanted = any ? minus(all, response) : response;
  const conjuncts = any ? terms.map(({ column, negated }) => ({ column, negated: !negated })) : terms;
  return conjuncts.some((term) => {
    if (term.column === own) return false;
    const rest = conjuncts.filter((other) => other !== term).reduce((sum, other) => and(sum, holdsIn(other)), all);
    return columns.some(
      (column) =>
        column !== term.column &&
        RANK[column.variable.kind] <= RANK[term.column.variable.kind] &&
        (isIndependent(column) || isIndependent(term.column)) &&
        [false, true].some((negated) => equal(and(rest, holdsIn({ column, negated })), wanted)),
    );
  });
}
