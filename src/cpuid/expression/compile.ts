import type { Halves, Scope } from '../scope.js';
import { type BinaryOp, type Expr, type RegisterExpr, RulesError } from './ast.js';
import { FUNCTIONS } from './functions.js';

/**
 * An expression as closures. Values are unsigned 64-bit integers; `low` gives their lower half as a number, which is all
 * there is where `narrow` holds. Registers are narrow, so that evaluating CPUID needs no bigint.
 */
export interface Code {
  narrow: boolean;
  low: (scope: Scope) => number;
  wide: (scope: Scope) => bigint;
}

/** Whose variable: a field of TD_PARAMS, a value of the host, or state of the guest. */
export type Space = 'td' | 'host' | 'guest';

/** What names mean in a document. */
export interface Names {
  /** Position of a CPUID entry in the compiled document, times four. */
  registers(of: RegisterExpr): number | undefined;
  variable(name: string): { space: Space; slot: number; narrow: boolean } | undefined;
  /** Number of a named bit, such as `attributes.PKS`. */
  bit(name: string, member: string): number | undefined;
}

const U64 = (1n << 64n) - 1n;

export const narrow = (low: (scope: Scope) => number): Code => ({ narrow: true, low, wide: (s) => BigInt(low(s)) });
export const wide = (value: (scope: Scope) => bigint): Code => ({
  narrow: false,
  low: (s) => Number(value(s) & 0xffff_ffffn),
  wide: value,
});

function constant(value: bigint): Code {
  const low = Number(value & 0xffff_ffffn);
  return { narrow: value >> 32n === 0n, low: () => low, wide: () => value };
}

/** Whether the value is not 0. */
export const truth = (code: Code): ((scope: Scope) => boolean) =>
  code.narrow ? (s) => code.low(s) !== 0 : (s) => code.wide(s) !== 0n;

function slice(of: Code, high: number, low: number): Code {
  const width = high - low + 1;
  if (high < 32) {
    const mask = width === 32 ? 0xffff_ffff : 2 ** width - 1;
    return narrow((s) => ((of.low(s) >>> low) & mask) >>> 0);
  }
  const mask = (1n << BigInt(width)) - 1n;
  const cut = wide((s) => (of.wide(s) >> BigInt(low)) & mask);
  return { ...cut, narrow: width <= 32 };
}

const HALVES: Readonly<Record<Space, (scope: Scope) => Halves>> = {
  td: (s) => s,
  host: (s) => s.host,
  guest: (s) => s.guest,
};

/** `of` is a variable kept as two halves, so that no bigint is made to look at its upper one. */
function variable(space: Space, slot: number, isNarrow: boolean): Code & { high: (scope: Scope) => number } {
  const of = HALVES[space];
  return {
    narrow: isNarrow,
    low: (s) => of(s).low[slot]!,
    high: (s) => of(s).high[slot]!,
    wide: (s) => (BigInt(of(s).high[slot]!) << 32n) | BigInt(of(s).low[slot]!),
  };
}

function comparison<T extends number | bigint>(op: BinaryOp, x: (s: Scope) => T, y: (s: Scope) => T): Code | undefined {
  switch (op) {
    case '==':
      return narrow((s) => (x(s) === y(s) ? 1 : 0));
    case '!=':
      return narrow((s) => (x(s) !== y(s) ? 1 : 0));
    case '<':
      return narrow((s) => (x(s) < y(s) ? 1 : 0));
    case '<=':
      return narrow((s) => (x(s) <= y(s) ? 1 : 0));
    case '>':
      return narrow((s) => (x(s) > y(s) ? 1 : 0));
    case '>=':
      return narrow((s) => (x(s) >= y(s) ? 1 : 0));
  }
  return undefined;
}

const compare = (op: BinaryOp, a: Code, b: Code): Code | undefined =>
  a.narrow && b.narrow ? comparison(op, a.low, b.low) : comparison(op, a.wide, b.wide);

function combine(op: BinaryOp, a: Code, b: Code): Code {
  const compared = compare(op, a, b);
  if (compared) return compared;
  const [p, q] = [truth(a), truth(b)];
  const low = (f: (x: number, y: number) => number) => (s: Scope) => f(a.low(s), b.low(s)) >>> 0;
  const full = (f: (x: bigint, y: bigint) => bigint) => (s: Scope) => f(a.wide(s), b.wide(s)) & U64;
  const both = a.narrow && b.narrow;
  switch (op) {
    case '||':
      return narrow((s) => (p(s) || q(s) ? 1 : 0));
    case '&&':
      return narrow((s) => (p(s) && q(s) ? 1 : 0));
    case '&': {
      const lower = low((x, y) => x & y);
      return a.narrow || b.narrow ? narrow(lower) : { narrow: false, low: lower, wide: full((x, y) => x & y) };
    }
    case '|': {
      const lower = low((x, y) => x | y);
      return both ? narrow(lower) : { narrow: false, low: lower, wide: full((x, y) => x | y) };
    }
    case '^': {
      const lower = low((x, y) => x ^ y);
      return both ? narrow(lower) : { narrow: false, low: lower, wide: full((x, y) => x ^ y) };
    }
    case '<<':
      return wide(full((x, y) => (y > 63n ? 0n : x << y)));
    case '>>':
      return { ...wide(full((x, y) => (y > 63n ? 0n : x >> y))), narrow: a.narrow };
    case '+':
      return { narrow: false, low: low((x, y) => x + y), wide: full((x, y) => x + y) };
    case '-':
      return { narrow: false, low: low((x, y) => x - y), wide: full((x, y) => x - y) };
    case '*':
      return { narrow: false, low: low(Math.imul), wide: full((x, y) => x * y) };
    default: // '/': dividing by zero gives 0, so that every expression has a value
      return { ...wide(full((x, y) => (y === 0n ? 0n : x / y))), narrow: a.narrow };
  }
}

/** Compiles `expr`; throws RulesError for a name, register or function that the document does not define. */
export function compileExpression(expr: Expr, names: Names, where: string): Code {
  const compile = (e: Expr): Code => {
    switch (e.kind) {
      case 'number':
        return constant(e.value);
      case 'register': {
        const at = names.registers(e);
        if (at === undefined) throw new RulesError(`CPUID leaf 0x${e.leaf.toString(16)} is not in the document`, where);
        const slot = at + e.register;
        if (e.of === 'virtual') return narrow((s) => s.virtual[slot]!);
        return e.of === 'native' ? narrow((s) => s.host.native[slot]!) : narrow((s) => s.config[slot]!);
      }
      case 'name':
        return e.member === undefined ? name(e.name) : member(e.name, e.member);
      case 'slice': {
        const of = compile(e.of);
        const upper = (of as { high?: (s: Scope) => number }).high;
        if (upper && e.low >= 32) return slice(narrow(upper), e.high - 32, e.low - 32);
        return slice(of, e.high, e.low);
      }
      case 'unary': {
        const of = compile(e.of);
        if (e.op === '~') return { narrow: false, low: (s) => ~of.low(s) >>> 0, wide: (s) => ~of.wide(s) & U64 };
        const test = truth(of);
        return narrow((s) => (test(s) ? 0 : 1));
      }
      case 'binary':
        return combine(e.op, compile(e.left), compile(e.right));
      case 'choice': {
        const test = truth(compile(e.condition));
        const [a, b] = [compile(e.then), compile(e.otherwise)];
        return {
          narrow: a.narrow && b.narrow,
          low: (s) => (test(s) ? a.low(s) : b.low(s)),
          wide: (s) => (test(s) ? a.wide(s) : b.wide(s)),
        };
      }
      case 'call': {
        const make = FUNCTIONS[e.name];
        if (!make)
          throw new RulesError(`no function ${e.name}(); there are ${Object.keys(FUNCTIONS).join(', ')}`, where);
        if (e.args.length !== make.length) {
          throw new RulesError(`${e.name}() takes ${make.length} arguments, found ${e.args.length}`, where);
        }
        return make(...e.args.map(compile));
      }
    }
  };
  const name = (text: string): Code => {
    const found = names.variable(text);
    if (!found) throw new RulesError(`'${text}' is not defined`, where);
    return variable(found.space, found.slot, found.narrow);
  };
  const member = (of: string, text: string): Code => {
    if (of === 'sys') return narrow((s) => s.host.sys(text));
    const bit = names.bit(of, text);
    if (bit === undefined) throw new RulesError(`'${of}' has no bit named '${text}'`, where);
    return compile({ kind: 'slice', of: { kind: 'name', name: of }, high: bit, low: bit });
  };
  return compile(expr);
}
