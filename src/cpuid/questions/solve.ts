import { isError } from '../../td/finding.js';
import type { TdConfig } from '../../td/schema.js';
import type { CompiledRules } from '../rules.js';
import { factsOf } from './common-facts.js';
import { evaluateCpuid } from './evaluate.js';
import type { CpuidEvaluation } from './evaluation.js';
import { whyNot } from './explain.js';
import type { CpuidHost } from './host.js';
import { attributeNames, knobsOfMask, type Turn, turn, turnText } from './knobs.js';
import { outcome, reach, subsets, type Wish } from './reach.js';
import { describeDifferences, makeSame } from './same.js';
import { type CpuidWishes, type Demand, demandsOf } from './wishes.js';

/** The answer to wishes. */
export type Solution =
  | {
      solved: true;
      config: TdConfig;
      /** What it takes, a sentence each. */
      changes: readonly string[];
      /** Wishes of which only a host can tell, since what decides them is not known. */
      unsure: readonly string[];
      evaluations: readonly CpuidEvaluation[];
    }
  | {
      solved: false;
      /** The smallest set of wishes that cannot hold together. */
      conflict: readonly string[];
      why: string;
    };

type Known = CpuidHost & { rules: CompiledRules };
interface Found {
  config: TdConfig;
  turns: readonly Turn[];
  evaluations: readonly CpuidEvaluation[];
}
type Attempt = Found | { why: string };

const SEPT_VE_DISABLE = 1n << 28n;

/** The least TD: nothing that nobody asked for but what Linux guests need. */
function leastTd(hosts: readonly CpuidHost[], base: TdConfig): TdConfig {
  const attributes = hosts.reduce((mask, host) => mask & factsOf(host).capabilities.supportedAttrs, SEPT_VE_DISABLE);
  return { cpuidBase: 'zero', xfam: [], attributes: attributeNames(attributes), ...base };
}

class Solver {
  constructor(
    readonly hosts: readonly Known[],
    readonly base: TdConfig,
  ) {}

  /** A configuration in which all demands hold, or why there is none. */
  attempt(demands: readonly Demand[]): Attempt {
    let config = leastTd(this.hosts, this.base);
    const turns: Turn[] = [];
    for (const { xfam, attributes } of demands) {
      for (const [kind, wanted] of [
        ['xfam', xfam],
        ['attribute', attributes],
      ] as const) {
        if (!wanted) continue;
        for (const knob of knobsOfMask(kind, wanted.mask)) {
          const { resolved } = evaluateCpuid(this.hosts[0]!, config);
          config = turn(config, resolved, { knob, to: wanted.value });
          if (wanted.value) turns.push({ knob, to: 1 });
        }
      }
    }
    const wishes = demands.flatMap(({ bits }) => bits);
    const found = this.#search(config, wishes, turns, new Set());
    if ('why' in found) return found;
    return this.#check(found, demands);
  }

  /** Grants wishes one after the other; where there are several ways, tries them all. */
  #search(config: TdConfig, wishes: readonly Wish[], turns: readonly Turn[], seen: Set<string>): Attempt {
    const key = JSON.stringify(config);
    if (seen.has(key) || seen.size > 200) return { why: 'one of them undoes the other' };
    seen.add(key);
    const evaluations = this.hosts.map((host) => evaluateCpuid(host, config));
    for (const [i, evaluation] of evaluations.entries()) {
      const unmet = wishes.find((wish) => !granted(evaluation, wish));
      if (!unmet) continue;
      const host = this.hosts[i]!;
      let why = '';
      for (const way of reach(host, config, [unmet])) {
        const found = this.#search(way.config, wishes, [...turns, ...way.turns], seen);
        if (!('why' in found)) return found;
        why ||= found.why;
      }
      const bit = { ...unmet, high: unmet.bit, low: unmet.bit };
      return { why: why || `on ${host.name}: ${whyNot(host, config, bit, unmet.value)}` };
    }
    return { config, turns, evaluations };
  }

  #check(found: Found, demands: readonly Demand[]): Attempt {
    let { config, evaluations } = found;
    if (demands.some(({ sameEverywhere }) => sameEverywhere) && this.hosts.length > 1) {
      const frequencies = this.hosts.map((host) => factsOf(host).tscKhz).filter((khz) => khz !== 0);
      const tscKhz = config.tscKhz ?? (frequencies.length > 0 ? Math.min(...frequencies) : undefined);
      const { config: same, all, left } = makeSame(this.hosts, { ...config, ...(tscKhz !== undefined && { tscKhz }) });
      const [first] = describeDifferences(all, left);
      if (first) {
        const where = first.name ?? `CPUID leaf 0x${first.leaf.toString(16)} ${first.register.toUpperCase()}`;
        return { why: `${where} differs between ${all[0]!.host.name} and ${first.hosts.join(', ')}: ${first.reason}` };
      }
      [config, evaluations] = [same, all];
    }
    for (const evaluation of evaluations) {
      if (evaluation.accepted === false) {
        const error = evaluation.findings.find(isError);
        return {
          why: `on ${evaluation.host.name}: ${error ? `${error.what}. ${error.why} [${error.rule}]` : 'it is refused'}`,
        };
      }
      for (const { text, bits, xfam, attributes } of demands) {
        const { resolved } = evaluation;
        const has = (value: bigint, wanted: Demand['xfam']) =>
          !wanted || (wanted.value ? (value & wanted.mask) === wanted.mask : (value & wanted.mask) === 0n);
        const holds = bits.every((wish) => granted(evaluation, wish)) && has(resolved.xfam, xfam);
        if (!holds || !has(resolved.attributes, attributes)) return { why: `${text} is undone by the others` };
      }
    }
    return { ...found, config, evaluations };
  }
}

/** Whether a wish holds, or may hold where only the host can tell and it was asked for. */
const granted = (evaluation: CpuidEvaluation, wish: Wish): boolean => outcome(evaluation, wish) === wish.value;

const MOST_SUBSETS = 400;

/** The smallest set of demands that cannot hold together. */
function conflictOf(solver: Solver, demands: readonly Demand[]): { conflict: readonly Demand[]; why: string } {
  let tries = 0;
  for (let size = 1; size < demands.length; size++) {
    for (const some of subsets(demands, size)) {
      if (++tries > MOST_SUBSETS) return shrink(solver, demands);
      const result = solver.attempt(some);
      if ('why' in result) return { conflict: some, why: result.why };
    }
  }
  const result = solver.attempt(demands);
  return { conflict: demands, why: 'why' in result ? result.why : '' };
}

/** Too many wishes to try every set: leaves out one after the other, as long as the rest still cannot hold. */
function shrink(solver: Solver, demands: readonly Demand[]): { conflict: readonly Demand[]; why: string } {
  let conflict = demands;
  for (const demand of demands) {
    const rest = conflict.filter((one) => one !== demand);
    if ('why' in solver.attempt(rest)) conflict = rest;
  }
  const result = solver.attempt(conflict);
  return { conflict, why: 'why' in result ? result.why : '' };
}

/**
 * The TD configuration that grants all wishes on every host with the least else, or the smallest set of wishes that cannot
 * hold together, and why. It has no CPUID bit, XFAM or attribute that the wishes do not need, besides `base` and
 * SEPT_VE_DISABLE.
 * @param base parts of the configuration that are settled: vCPUs, GPAW, or `cpuidBase: 'host'` for the usual rest.
 * @throws CpuidPlaceError or RangeError for wishes that cannot be understood, TypeError for a host without rules.
 */
export function solveCpuid(hosts: readonly CpuidHost[], wishes: CpuidWishes, base: TdConfig = {}): Solution {
  if (hosts.length === 0) throw new RangeError('wishes need one host at least');
  const unknown = hosts.find(({ rules }) => !rules);
  if (unknown)
    throw new TypeError(`${unknown.name}: the rules of its TDX module are not known, so nothing can be solved there`);
  const solver = new Solver(hosts as Known[], base);
  const demands = demandsOf(wishes);
  const result = solver.attempt(demands);
  if ('why' in result) {
    const { conflict, why } = conflictOf(solver, demands);
    return { solved: false, conflict: conflict.map(({ text }) => text), why };
  }
  const { config, turns, evaluations } = result;
  const unsure = evaluations.flatMap(({ undecided }) => undecided);
  return {
    solved: true,
    config,
    changes: [...new Set(turns.map(turnText))],
    unsure: [...new Set(unsure)],
    evaluations,
  };
}
