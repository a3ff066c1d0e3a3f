import { RULES, type Rule, type RuleId } from '../../rulebook/index.js';
import { isError } from '../../td/finding.js';
import type { TdConfig } from '../../td/schema.js';
import { REGISTERS } from '../expression/ast.js';
import { findFeature } from '../names.js';
import { type BitKind, describeExpression } from '../origin.js';
import type { CompiledRules } from '../rules.js';
import { type MovedBits, movedBits } from './compare.js';
import { type Bit, knobsFor } from './cone.js';
import { evaluateCpuid } from './evaluate.js';
import type { BitValue, CpuidEvaluation } from './evaluation.js';
import type { CpuidHost } from './host.js';
import { knobKey, type Turn, turnText } from './knobs.js';
import { partialHost } from './knowledge.js';
import { type BitPlace, parsePlace } from './place.js';
import { outcome, reach, turned } from './reach.js';

/** How to get a value. */
export interface Advice {
  value: 0 | 1;
  /**
   * `so`: the configuration has it already; `change`: with the changes; `depends`: with the changes, if what is not known of
   * the host allows it; `no`: nothing that a TD's owner sets gives it.
   */
  answer: 'so' | 'change' | 'depends' | 'no';
  /** What to change, a sentence each. */
  changes: readonly string[];
  /** The changed configuration. */
  config?: TdConfig;
  /** Other bits that change with it. */
  moves: readonly MovedBits[];
  /** Of `no`: why not. Of `depends`: on what. */
  why?: string;
}

export interface Explanation {
  place: BitPlace;
  meaning?: string;
  /** What decides the bit; `unknown` where the module's rules are not known. */
  kind: BitKind | 'unknown';
  /** What it is in this configuration, of single bits. */
  value?: BitValue;
  /** Why, a sentence for each part of a field that has its own reason. */
  reasons: readonly string[];
  /** Rules that the bit, or what it depends on, must obey. */
  rules: readonly { id: string; what: string }[];
  /** For single bits: how to get 1, and how to get 0. */
  advice: readonly Advice[];
}

/** Checks of the module that look at the bit or at what may be turned for it. */
function rulesAbout(host: CpuidHost & { rules: CompiledRules }, { leaf, subleaf, register, low }: BitPlace) {
  const partial = partialHost(host);
  const knobs = knobsFor(partial, [{ leaf, subleaf, register, bit: low }]);
  const keys = new Set(knobs.map(knobKey));
  const has = (kind: 'xfam' | 'attribute', mask: bigint) =>
    knobs.some((knob) => knob.kind === kind && (mask >> BigInt(knob.bit)) & 1n);
  const checks = [
    ...partial.partial.init.filter((step) => typeof step !== 'string'),
    ...partial.partial.entries.flatMap(({ checks }) => checks),
  ];
  const ids = checks.flatMap((check) => {
    const { names, registers } = describeExpression(partial.partial, check).references;
    const whole = (mask: bigint | undefined) => (mask === undefined || mask === (1n << 64n) - 1n ? 0n : mask);
    const looks =
      has('xfam', whole(names.get('xfam'))) ||
      has('attribute', whole(names.get('attributes'))) ||
      registers.some((at) =>
        [...Array(32).keys()].some(
          (bit) =>
            (at.mask >>> bit) & 1 &&
            keys.has(
              knobKey({ kind: 'bit', leaf: at.leaf, subleaf: at.subleaf ?? 0, register: REGISTERS[at.register]!, bit }),
            ),
        ),
      );
    return looks ? [check.rule] : [];
  });
  return [...new Set(ids)].map((id) => ({ id, what: ruleText(id) }));
}

const ruleText = (id: string): string => (id in RULES ? (RULES[id as RuleId] as Rule).what : id);

/** Why no turn gives the value: what the host says to all of them together, or what the bit then is. */
export function whyNot(
  host: CpuidHost & { rules: CompiledRules },
  config: TdConfig,
  place: BitPlace,
  value: 0 | 1,
): string {
  const bit = { leaf: place.leaf, subleaf: place.subleaf, register: place.register, bit: place.low };
  const start = evaluateCpuid(host, config);
  const turns = knobsFor(partialHost(host), [bit]).map((knob) => ({ knob, to: value }));
  const { evaluation } = turned(host, config, start, turns.slice(0, 6));
  const refused = evaluation.findings.find(isError);
  const found = evaluation.bit(place.leaf, place.subleaf, place.register, place.low);
  if (outcome(evaluation, bit) === value && refused) return `${refused.what} [${refused.rule}]`;
  if (found?.value === 'guest decides' && found.stored === undefined) return found.reason;
  const denied = refused?.rule.startsWith('kvm.') ? `; ${refused.what} [${refused.rule}]` : '';
  return `${found?.reason ?? 'CPUID gives a #VE for this leaf'}${denied}`;
}

/** What to ask for where only the host itself can tell whether it comes true. */
function depends(
  host: CpuidHost & { rules: CompiledRules },
  start: CpuidEvaluation,
  bit: Bit,
  value: 0 | 1,
): Advice | undefined {
  const turns = knobsFor(partialHost(host), [bit]).map((knob): Turn => ({ knob, to: value }));
  const { evaluation, config } = turned(host, start.config, start, turns);
  const found = evaluation.bit(bit.leaf, bit.subleaf, bit.register, bit.bit);
  if (evaluation.accepted === false || outcome(evaluation, bit) !== 'unknown') return undefined;
  const changes = [...new Set(turns.map(turnText))];
  return { value, answer: 'depends', changes, config, moves: [], why: found!.reason };
}

function advise(
  host: CpuidHost & { rules: CompiledRules },
  start: CpuidEvaluation,
  place: BitPlace,
  value: 0 | 1,
): Advice {
  const { leaf, subleaf, register, low } = place;
  const bit = { leaf, subleaf, register, bit: low };
  const [best] = reach(host, start.config, [{ ...bit, value }]);
  if (!best) {
    const maybe = depends(host, start, bit, value);
    if (maybe) return maybe;
    const why = whyNot(host, start.config, place, value);
    return { value, answer: 'no', changes: [], moves: [], why };
  }
  const moves = movedBits(start, best.evaluation).filter(
    (moved) => moved.leaf !== leaf || moved.subleaf !== subleaf || moved.register !== register || moved.low !== low,
  );
  const changes = best.turns.map(turnText);
  return { value, answer: changes.length === 0 ? 'so' : 'change', changes, config: best.config, moves };
}

/**
 * What decides a bit or field of CPUID on `host`, what to set to get it 1 or 0, what excludes it, and which other bits move
 * with it. The advice is tried before it is given: its configuration is not refused and has the bit as promised.
 * @param text `7.0.ebx[4]`, `HLE`
 * @throws CpuidPlaceError for text that names no bit.
 */
export function explainCpuid(host: CpuidHost, text: string, config: TdConfig = {}): Explanation {
  const place = parsePlace(text);
  const { leaf, subleaf, register, high, low, name } = place;
  const evaluation = evaluateCpuid(host, config);
  const bits = [...Array(high - low + 1).keys()].map((n) => evaluation.bit(leaf, subleaf, register, low + n));
  const meaning = name === undefined ? undefined : findFeature(name)?.meaning;
  const shared = { place, ...(meaning !== undefined && { meaning }) };
  const first = bits[0];
  if (!first) {
    const reason = 'the module has no value for this (sub-)leaf: CPUID gives a #VE, or answers as its last basic leaf';
    return { ...shared, kind: '#VE', value: 'guest decides', reasons: [reason], rules: [], advice: [] };
  }
  const reasons = [...new Set(bits.map((bit) => bit!.reason))];
  const said = { ...shared, kind: first.kind, reasons, ...(high === low && { value: first.value }) };
  if (!host.rules) return { ...said, rules: [], advice: [] };
  const known = host as CpuidHost & { rules: CompiledRules };
  const advice = high === low ? ([1, 0] as const).map((value) => advise(known, evaluation, place, value)) : [];
  return { ...said, rules: rulesAbout(known, place), advice };
}
