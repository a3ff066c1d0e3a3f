import type { BinaryOp, Expr } from '../expression/ast.js';
import type { Host } from '../host.js';
import type { Bits } from './bits.js';
import * as bits from './bits.js';
import { FUNCTIONS } from './functions.js';

/** What expressions see where some of it is not known. */
export interface PartialScope {
  /** Fields of TD_PARAMS, values of the `host` section and guest state, by name. */
  readonly names: Map<string, Bits>;
  /** By entry, four each. */
  readonly native: readonly Bits[];
  readonly virtual: Bits[];
  readonly config: readonly Bits[];
  readonly msr: (index: number) => Bits;
  readonly sys: (name: string) => Bits;
  /** Whether bytes of TD_PARAMS are zeros. */
  readonly zeros: (from: number, to: number) => Bits;
  /** For what is calculated of the processor; undefined where that is not known. */
  readonly host: Host | undefined;
}

export type PartialCode = (scope: PartialScope) => Bits;

/** What the names of a document stand for. */
export interface PartialNames {
  /** Position of a CPUID entry, times four. */
  registers(leaf: number, subleaf: number | null): number;
  bit(name: string, member: string): number;
}

const OPERATORS: Readonly<Record<BinaryOp, (a: Bits, b: Bits) => Bits>> = {
  '||': (a, b) => bits.or(bits.truth(a), bits.truth(b)),
  '&&': (a, b) => bits.and(bits.truth(a), bits.truth(b)),
  '==': bits.equal,
  '!=': (a, b) => bits.flip(bits.equal(a, b)),
  '<': bits.below,
  '>': (a, b) => bits.below(b, a),
  '<=': (a, b) => bits.flip(bits.below(b, a)),
  '>=': (a, b) => bits.flip(bits.below(a, b)),
  '|': bits.or,
  '^': bits.xor,
  '&': bits.and,
  '<<': (a, b) => (bits.isKnown(b) ? bits.shiftLeft(a, b.value) : bits.openBits(bits.U64, a, b)),
  '>>': (a, b) => (bits.isKnown(b) ? bits.shiftRight(a, b.value) : bits.openBits(bits.U64, a, b)),
  '+': (a, b) => bits.calculate((x, y) => x! + y!, a, b),
  '-': (a, b) => bits.calculate((x, y) => x! - y!, a, b),
  '*': (a, b) => bits.calculate((x, y) => x! * y!, a, b),
  '/': (a, b) => bits.calculate((x, y) => (y === 0n ? 0n : x! / y!), a, b),
};

/** The same expressions as compileExpression takes, over values of which some bits are not known. */
export function compilePartial(expr: Expr, names: PartialNames): PartialCode {
  const compile = (e: Expr): PartialCode => {
    switch (e.kind) {
      case 'number': {
        const value = bits.known(e.value);
        return () => value;
      }
      case 'register': {
        const slot = names.registers(e.leaf, e.subleaf) + e.register;
        const { of } = e;
        return (s) => s[of][slot]!;
      }
      case 'name': {
        const { name, member } = e;
        if (member === undefined) return (s) => s.names.get(name)!;
        if (name === 'sys') return (s) => s.sys(member);
        const bit = names.bit(name, member);
        return compile({ kind: 'slice', of: { kind: 'name', name }, high: bit, low: bit });
      }
      case 'slice': {
        const of = compile(e.of);
        const mask = (1n << BigInt(e.high - e.low + 1)) - 1n;
        const by = BigInt(e.low);
        return (s) => bits.keep(bits.shiftRight(of(s), by), mask);
      }
      case 'unary': {
        const of = compile(e.of);
        return e.op === '~' ? (s) => bits.not(of(s)) : (s) => bits.flip(bits.truth(of(s)));
      }
      case 'binary': {
        const [left, right] = [compile(e.left), compile(e.right)];
        const apply = OPERATORS[e.op];
        return (s) => apply(left(s), right(s));
      }
      case 'choice': {
        const [condition, then, otherwise] = [compile(e.condition), compile(e.then), compile(e.otherwise)];
        return (s) =>
          bits.choose(
            condition(s),
            () => then(s),
            () => otherwise(s),
          );
      }
      case 'call': {
        const args = e.args.map(compile);
        const call = FUNCTIONS[e.name]!;
        return (s) =>
          call(
            s,
            args.map((arg) => arg(s)),
          );
      }
    }
  };
  return compile(expr);
}
