import type { CpuidEntry } from '../document.js';
import { type Expr, REGISTERS } from '../expression/ast.js';
import { parseExpression } from '../expression/parse.js';
import type { CompiledEntry, CompiledRules } from '../rules.js';
import { compilePartial, type PartialCode, type PartialNames } from './compile.js';

/** An expression of a document in all its forms. */
export interface PartialExpression {
  text: string;
  expr: Expr;
  code: PartialCode;
}

export interface PartialCheck extends PartialExpression {
  rule: string;
}

/** Bits `high:low` of register `register` of an entry. */
export interface PartialField extends PartialExpression {
  register: number;
  high: number;
  low: number;
  mask: number;
}

/** What a compiled entry does not keep: its expressions as they can be read and evaluated in part. */
export interface PartialEntry {
  entry: CompiledEntry;
  only: PartialExpression | undefined;
  set: readonly PartialField[];
  checks: readonly PartialCheck[];
  ve: PartialExpression | undefined;
  guest: readonly PartialField[];
}

export interface PartialRules {
  rules: CompiledRules;
  entries: readonly PartialEntry[];
  host: readonly (PartialExpression & { name: string })[];
  init: readonly (PartialCheck | 'cpuid' | 'topology')[];
}

const FIELD = /^(e[abcd]x)(?:\[(\d+)(?::(\d+))?\])?$/;
const made = new WeakMap<CompiledRules, PartialRules>();

/** The rules in the form that partial evaluation and explanations need; made once. */
export function partialRules(rules: CompiledRules): PartialRules {
  const partial = made.get(rules) ?? make(rules);
  made.set(rules, partial);
  return partial;
}

function make(rules: CompiledRules): PartialRules {
  const { document } = rules;
  // compileRules has refused what is not defined.
  const names: PartialNames = {
    registers: (leaf, subleaf) => rules.find(leaf, subleaf)! * 4,
    bit: (name, member) => document.names[name]![member]!,
  };
  const expression = (text: string): PartialExpression => {
    const expr = parseExpression(text, 'rules');
    return { text, expr, code: compilePartial(expr, names) };
  };
  const optional = (text: string | undefined) => (text === undefined ? undefined : expression(text));
  const fields = (list: CpuidEntry['set']): PartialField[] =>
    Object.entries(list ?? {}).map(([field, text]) => {
      const [, register, top, bottom] = FIELD.exec(field)!;
      const [high, low] = [Number(top ?? 31), Number(bottom ?? top ?? 0)];
      const mask = ((2 ** (high - low + 1) - 1) * 2 ** low) >>> 0;
      return { ...expression(text), register: REGISTERS.indexOf(register as 'eax'), high, low, mask };
    });
  const ordered = [...document.cpuid].sort((a, b) => a.index - b.index);
  return {
    rules,
    entries: ordered.map((e, i) => ({
      entry: rules.entries[i]!,
      only: optional(e.only),
      set: fields(e.set),
      checks: (e.checks ?? []).map((c) => ({ ...expression(c.require), rule: c.rule })),
      ve: optional(e.ve),
      guest: fields(e.guest),
    })),
    host: Object.entries(document.host).map(([name, text]) => ({ name, ...expression(text) })),
    init: document.init.map((step) => ('do' in step ? step.do : { ...expression(step.require), rule: step.rule })),
  };
}
