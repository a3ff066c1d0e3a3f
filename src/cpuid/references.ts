import type { Expr, RegisterExpr } from './expression/ast.js';
import { GUEST_STATE } from './scope.js';

const ALL = (1n << 64n) - 1n;

/** What an expression looks at. */
export interface References {
  /** Bits of XFAM, ATTRIBUTES, CONFIG_FLAGS and other fields of TD_PARAMS, and of values of the host, by name. */
  names: Map<string, bigint>;
  /** Bits of the guest's state: `cr4`, `td_ctls`. */
  guest: Map<string, bigint>;
  registers: { of: RegisterExpr['of']; leaf: number; subleaf: number | null; register: number; mask: number }[];
  functions: Set<string>;
}

/** Everything that `expr` may look at; `bit` gives the number of a named bit. */
export function referencesOf(expr: Expr, bit: (name: string, member: string) => number | undefined): References {
  const found: References = { names: new Map(), guest: new Map(), registers: [], functions: new Set() };
  const note = (name: string, mask: bigint): void => {
    const guest = GUEST_STATE.some((state) => state.name === name);
    const map = guest ? found.guest : found.names;
    map.set(name, (map.get(name) ?? 0n) | mask);
  };
  const walk = (e: Expr, mask: bigint): void => {
    if (e.kind === 'register') {
      const { of, leaf, subleaf, register } = e;
      found.registers.push({ of, leaf, subleaf, register, mask: Number(mask & 0xffff_ffffn) });
    } else if (e.kind === 'name') {
      const number = e.member === undefined ? undefined : bit(e.name, e.member);
      note(e.name, e.member === undefined ? mask : number === undefined ? ALL : 1n << BigInt(number));
    } else if (e.kind === 'slice') {
      walk(e.of, ((1n << BigInt(e.high - e.low + 1)) - 1n) << BigInt(e.low));
    } else if (e.kind === 'unary') {
      walk(e.of, e.op === '~' ? mask : ALL);
    } else if (e.kind === 'binary') {
      const constant = e.op === '&' ? [e.left, e.right].find((side) => side.kind === 'number') : undefined;
      const inner = constant?.kind === 'number' ? constant.value & mask : ALL;
      walk(e.left, inner);
      walk(e.right, inner);
    } else if (e.kind === 'choice') {
      walk(e.condition, ALL);
      walk(e.then, mask);
      walk(e.otherwise, mask);
    } else if (e.kind === 'call') {
      found.functions.add(e.name);
      for (const arg of e.args) walk(arg, ALL);
    }
  };
  walk(expr, ALL);
  return found;
}
