import type { TdConfig } from '../../td/schema.js';
import type { CompiledRules } from '../rules.js';
import { type Bit, knobsFor } from './cone.js';
import { evaluateCpuid } from './evaluate.js';
import type { CpuidEvaluation } from './evaluation.js';
import type { CpuidHost } from './host.js';
import { type Knob, knobKey, type Turn, turn } from './knobs.js';
import { partialHost } from './knowledge.js';

/** A bit that is to have a value. */
export interface Wish extends Bit {
  value: 0 | 1;
}

/** What a bit is: what a guest finds, or, where the guest has its say, what the TD has. */
export function outcome(
  evaluation: CpuidEvaluation,
  { leaf, subleaf, register, bit }: Bit,
): 0 | 1 | 'unknown' | undefined {
  const found = evaluation.bit(leaf, subleaf, register, bit);
  return found?.value === 'guest decides' ? found.stored : found?.value;
}

export const holds = (evaluation: CpuidEvaluation, wishes: readonly Wish[]): boolean =>
  wishes.every((wish) => outcome(evaluation, wish) === wish.value);

/** Where a knob stands. */
function position({ resolved }: CpuidEvaluation, knob: Knob): 0 | 1 {
  if (knob.kind !== 'bit') {
    const mask = knob.kind === 'xfam' ? resolved.xfam : resolved.attributes;
    return (mask >> BigInt(knob.bit)) & 1n ? 1 : 0;
  }
  const entry = resolved.cpuid.find((e) => e.function === knob.leaf && e.index === knob.subleaf);
  return ((entry?.[knob.register] ?? 0) >>> knob.bit) & 1 ? 1 : 0;
}

/** Subsets of `items` with `size` members, in their order. */
export function* subsets<T>(items: readonly T[], size: number, from = 0): Generator<T[]> {
  if (size === 0) {
    yield [];
    return;
  }
  for (let i = from; i <= items.length - size; i++) {
    for (const rest of subsets(items, size - 1, i + 1)) yield [items[i]!, ...rest];
  }
}

/** A configuration reached by turning knobs. */
export interface Reached {
  turns: Turn[];
  config: TdConfig;
  evaluation: CpuidEvaluation;
}

const MOST_TURNS = 4;
const MOST_TRIES = 600;

/** `config` with every turn made, evaluated. */
export function turned(host: CpuidHost, config: TdConfig, start: CpuidEvaluation, turns: readonly Turn[]): Reached {
  let evaluation = start;
  let next = config;
  for (const one of turns) {
    next = turn(next, evaluation.resolved, one);
    evaluation = evaluateCpuid(host, next);
  }
  return { turns: [...turns], config: next, evaluation };
}

/**
 * The fewest turns from `config` by which all wishes hold in a TD that is not refused; undefined if there are none among
 * what the rules say has an influence. All ways of that size, best known first.
 */
export function reach(
  host: CpuidHost & { rules: CompiledRules },
  config: TdConfig,
  wishes: readonly Wish[],
): Reached[] {
  const start = evaluateCpuid(host, config);
  if (start.accepted !== false && holds(start, wishes)) return [{ turns: [], config, evaluation: start }];
  const knobs = knobsFor(partialHost(host), wishes);
  // Where the defaults are not known, saying what they may be already is a turn too.
  const open = host.facts === undefined && host.platform?.cpuid === undefined;
  const turns = distinct(knobs).flatMap((knob): Turn[] => {
    const other: Turn = { knob, to: position(start, knob) ? 0 : 1 };
    return open ? [other, { knob, to: other.to ? 0 : 1 }] : [other];
  });
  let tries = 0;
  for (let size = 1; size <= Math.min(MOST_TURNS, turns.length); size++) {
    const found: Reached[] = [];
    for (const some of subsets(turns, size)) {
      if (++tries > MOST_TRIES) return found;
      const reached = turned(host, config, start, some);
      if (reached.evaluation.accepted !== false && holds(reached.evaluation, wishes)) found.push(reached);
    }
    if (found.length > 0) return found;
  }
  return [];
}

/** XFAM bits that go together are one knob. */
function distinct(knobs: readonly Knob[]): Knob[] {
  const GROUP: Readonly<Record<number, number>> = { 6: 5, 7: 5, 12: 11, 18: 17 };
  const byKey = new Map<string, Knob>();
  for (const knob of knobs) {
    const one: Knob = knob.kind === 'xfam' ? { kind: 'xfam', bit: GROUP[knob.bit] ?? knob.bit } : knob;
    byKey.set(knobKey(one), one);
  }
  return [...byKey.values()];
}
