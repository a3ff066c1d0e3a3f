import { REGISTERS } from '../cpuid/index.js';
import { featureAtBit } from '../cpuid/names.js';
import { addTo, type BitSet, emptySet } from './bitset.js';
import type { LearntEntry, LearntRule } from './document.js';
import { type Column, type Fit, fitBit, isDoubtful, type Term } from './fit.js';
import { FORMULAS, findFormula, type Registers, type XsaveComponents, xsaveOf } from './formulas.js';
import { isPlace, type Place } from './places.js';
import type { Settings } from './settings.js';
import type { Space } from './space.js';
import type { Shown } from './state.js';
import { type Variable, variablesOf } from './variables.js';

/** Experiments with what they show, as numbers. */
export interface Seen {
  settings: Settings;
  shown: Registers;
}

export const numbersOf = (shown: Shown): Registers =>
  Object.fromEntries(
    Object.entries(shown).map(([place, text]) => [
      place,
      [0, 8, 16, 24].map((at) => Number.parseInt(text.slice(at, at + 8), 16)),
    ]),
  );

const hex = (value: number): string => `0x${(value >>> 0).toString(16)}`;

/** One bit's rule, before bits that are alike are put together. */
type BitRule = Omit<LearntRule, 'bits'>;

/** Makes rules of experiments. */
export class RuleWriter {
  readonly xsave: XsaveComponents;
  readonly entries: readonly LearntEntry[];
  /** Bits that two conditions explain equally well. */
  doubtful = 0;
  readonly #columns: Column[];
  readonly #own = new Map<number, Column>();
  readonly #size: number;

  constructor(
    readonly space: Space,
    readonly seen: readonly Seen[],
    shown: Shown,
  ) {
    this.#size = seen.length;
    this.#columns = variablesOf(space, shown).map((variable) => this.#column(variable));
    for (const column of this.#columns)
      if (column.variable.config !== undefined) this.#own.set(column.variable.config, column);
    this.xsave = xsaveOf(seen);
    this.entries = this.#write();
  }

  #column(variable: Variable): Column {
    const [holds, fails] = [emptySet(this.#size), emptySet(this.#size)];
    this.seen.forEach(({ settings }, n) => {
      addTo(variable.holds(settings) ? holds : fails, n);
    });
    return { variable, holds, fails };
  }

  #write(): LearntEntry[] {
    const places = new Set(this.seen.flatMap(({ shown }) => Object.keys(shown)));
    return [...places]
      .map((text): [string, Place] => {
        const [leaf, subleaf] = text.split('.').map(Number);
        return [text, { leaf: leaf!, subleaf: subleaf ?? null }];
      })
      .sort(([, a], [, b]) => a.leaf - b.leaf || (a.subleaf ?? 0) - (b.subleaf ?? 0))
      .map(([text, place]) => ({
        leaf: hex(place.leaf),
        ...(place.subleaf !== null && { subleaf: hex(place.subleaf) }),
        rules: merge(REGISTERS.map((_, register) => this.#register(text, place, register))),
      }));
  }

  /** The rules of the 32 bits of a register, lowest first. */
  #register(text: string, place: Place, register: number): BitRule[] {
    const row = this.space.rows.findIndex(({ leaf, index }) => isPlace(place, leaf, index));
    const slot = row < 0 ? -1 : row * 4 + register;
    const responses = Array.from({ length: 32 }, () => emptySet(this.#size));
    this.seen.forEach(({ shown }, n) => {
      for (let value = shown[text]?.[register] ?? 0; value !== 0; value &= value - 1)
        addTo(responses[31 - Math.clz32(value & -value)]!, n);
    });
    const fits = responses.map((response, bit) =>
      fitBit(response, this.#size, this.#columns, this.#own.get(slot * 32 + bit)),
    );
    if (place.leaf !== 0x1f && fits.some(isHardToBelieve)) {
      const formula = findFormula(text, register, this.seen, this.xsave);
      if (formula) {
        const rule: BitRule = { kind: 'calculated', formula, depends: [...FORMULAS[formula].depends] };
        return fits.map(() => rule);
      }
    }
    const value = fits.reduce((sum, fit, bit) => (isOne(fit) ? sum | (1 << bit) : sum), 0) >>> 0;
    const rules = fits.map((fit, bit) => this.#bitRule(fit, responses[bit]!, slot, bit, value));
    return joinRuns(this.#settleFields(rules, place, register, value));
  }

  #bitRule(fit: Fit, response: BitSet, slot: number, bit: number, value: number): BitRule {
    const own = this.#own.get(slot * 32 + bit);
    if (fit.kind === 'terms' && isDoubtful(fit, response, this.#size, this.#columns, own)) this.doubtful++;
    if (fit.kind === 'constant') {
      if (!own) return { kind: fit.value ? 'fixed1' : 'fixed0' };
      if (this.space.choices.some((choice) => choice.slot === slot)) return { kind: 'host-value', value: hex(value) };
      if ((this.space.refusedBits[slot]! >>> bit) & 1) return { kind: fit.value ? 'fixed1' : 'fixed0' };
      if (own.holds.every((word) => word === 0)) return { kind: 'untried' };
      return fit.value ? { kind: 'no-effect', value: hex(value) } : { kind: 'not-native' };
    }
    if (fit.kind === 'none') return { kind: 'unknown', depends: this.#dependencies(response) };
    return termsRule(fit.terms, fit.any, own);
  }

  /** Configurable bits of one field, some of which stay 1: asking has no effect on the field as a whole. */
  #settleFields(rules: BitRule[], { leaf, subleaf }: Place, register: number, value: number): BitRule[] {
    const fieldOf = (bit: number) => featureAtBit(leaf, subleaf ?? 0, REGISTERS[register]!, bit);
    const settled = new Set(rules.flatMap(({ kind }, bit) => (kind === 'no-effect' ? [fieldOf(bit)] : [])));
    settled.delete(undefined);
    return rules.map((rule, bit) =>
      rule.kind === 'not-native' && settled.has(fieldOf(bit)) ? { kind: 'no-effect', value: hex(value) } : rule,
    );
  }

  /** Settings that together tell the experiments with 1 from those with 0, for a bit that no rule explains. */
  #dependencies(response: BitSet): string[] {
    const has = (set: BitSet, n: number): boolean => ((set[n >> 5]! >>> (n & 31)) & 1) === 1;
    let classes = [Array.from({ length: this.#size }, (_, n) => n)];
    const mixed = (list: number[][]) => list.filter((c) => c.some((n) => has(response, n) !== has(response, c[0]!)));
    const found: string[] = [];
    for (classes = mixed(classes); classes.length > 0 && found.length < 12; classes = mixed(classes)) {
      let best: { column: Column; left: number[][] } | undefined;
      for (const column of this.#columns) {
        const split = classes.flatMap((c) => [
          c.filter((n) => has(column.holds, n)),
          c.filter((n) => !has(column.holds, n)),
        ]);
        const left = mixed(split.filter((c) => c.length > 0));
        const size = (list: number[][]) => list.reduce((sum, c) => sum + c.length, 0);
        if (!best || size(left) < size(best.left)) best = { column, left };
      }
      if (!best) break;
      found.push(best.column.variable.text);
      classes = best.left;
    }
    return found.sort();
  }
}

const isOne = (fit: Fit): boolean => fit.kind === 'constant' && fit.value === 1;

/** Single bits of a calculated number can be told by odd coincidences: any of several, or the absence of something. */
const isHardToBelieve = (fit: Fit): boolean =>
  fit.kind === 'none' || (fit.kind === 'terms' && (fit.any || fit.terms.some(({ negated }) => negated)));

function termText({ column, negated }: Term): string {
  const { text } = column.variable;
  if (!negated) return text;
  return text.includes('&&') ? `!(${text})` : `!${text}`;
}

function termsRule(terms: readonly Term[], any: boolean, own: Column | undefined): BitRule {
  const ownTerm = terms.find(({ column, negated }) => column === own && !negated);
  const others = terms.filter((term) => term !== ownTerm);
  const kinds = new Set(terms.map(({ column }) => column.variable.kind));
  if (ownTerm) {
    // own || !a is: as configured where a holds, otherwise 1.
    const conditions = any ? others.map((term) => ({ ...term, negated: !term.negated })) : others;
    const when = conditions.map(termText).join(' && ');
    return { kind: 'configured', ...(when && { when }), ...(any && { otherwise: 1 as const }) };
  }
  const only = kinds.size === 1 ? [...kinds][0] : undefined;
  const kind = only === 'xfam' || only === 'attribute' ? only : 'calculated';
  return { kind, when: terms.map(termText).join(any ? ' || ' : ' && ') };
}

/** One bit of a field: `tsc_frequency[3]`, `config(0x1f.0.eax[2])`. */
const SOURCE_BIT = /^(\w+|config\([^ ]+)\[(\d+)\](\)?)$/;

/** Neighbours that follow neighbouring bits of one field become that field. */
function joinRuns(rules: BitRule[]): BitRule[] {
  const source = rules.map(({ kind, when }) => {
    const match = kind === 'calculated' && when ? SOURCE_BIT.exec(when) : null;
    return match && { field: match[1]!, bit: Number(match[2]), close: match[3]! };
  });
  const joined = [...rules];
  for (let low = 0; low < 32; low++) {
    const first = source[low];
    if (!first) continue;
    let high = low;
    const follows = (bit: number) =>
      source[bit]?.field === first.field && source[bit]?.bit === first.bit + bit - low && bit < 32;
    while (follows(high + 1)) high++;
    if (high === low) continue;
    const field = `${first.field}[${first.bit + high - low}:${first.bit}]${first.close}`;
    const rule: BitRule = { kind: 'calculated', value: low === 0 ? field : `${field} << ${low}` };
    for (let bit = low; bit <= high; bit++) joined[bit] = rule;
    low = high;
  }
  return joined;
}

/** Puts bits of a leaf together that come about alike; a `value` is of one register. */
function merge(registers: readonly BitRule[][]): LearntRule[] {
  const rules = new Map<string, { rule: BitRule; masks: number[] }>();
  registers.forEach((bits, register) => {
    bits.forEach((rule, bit) => {
      const key = JSON.stringify([rule, rule.value === undefined ? '' : register]);
      const group = rules.get(key) ?? { rule, masks: [0, 0, 0, 0] };
      rules.set(key, group);
      group.masks[register]! |= 1 << bit;
    });
  });
  return [...rules.values()].map(({ rule: { kind, ...rest }, masks }) => {
    const set = REGISTERS.flatMap((name, register) =>
      masks[register] === 0 ? [] : [[name, masks[register]!] as const],
    );
    const bits = Object.fromEntries(set.map(([name, mask]) => [name, hex(mask)]));
    // A constant is that of the whole register.
    if (rest.value?.startsWith('0x')) rest.value = hex(Number(rest.value) & set[0]![1]);
    return { kind, bits, ...rest };
  });
}
