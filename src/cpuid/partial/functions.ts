import type { Code } from '../expression/compile.js';
import { FUNCTIONS as EXACT } from '../expression/functions.js';
import type { Scope } from '../scope.js';
import { type Bits, calculate, isKnown, known, least, most, openBits, U64, UNKNOWN } from './bits.js';
import type { PartialScope } from './compile.js';

type Call = (scope: PartialScope, args: readonly Bits[]) => Bits;

const constant = ({ value }: Bits): Code => ({
  narrow: value >> 32n === 0n,
  low: () => Number(value & 0xffff_ffffn),
  wide: () => value,
});

/** The exact function where all arguments are known, and the host where it looks at that; else nothing is known. */
const exactly =
  (name: string, looksAt: 'arguments' | 'host'): Call =>
  (scope, args) => {
    if (looksAt === 'host' && !scope.host) return UNKNOWN;
    if (!args.every(isKnown)) return openBits(U64, ...args);
    const code = EXACT[name]!(...args.map(constant));
    return known(code.wide({ host: scope.host } as Scope));
  };

const order = (x: bigint, y: bigint): number => (x < y ? -1 : 1);

/** Every function of the expression language: test/cpuid/partial.test.ts compares the names. */
export const FUNCTIONS: Readonly<Record<string, Call>> = {
  min: (_, [a, b]) =>
    most(a!) <= least(b!) ? a! : most(b!) <= least(a!) ? b! : calculate((x, y) => [x!, y!].sort(order)[0]!, a!, b!),
  max: (_, [a, b]) =>
    least(a!) >= most(b!) ? a! : least(b!) >= most(a!) ? b! : calculate((x, y) => [x!, y!].sort(order)[1]!, a!, b!),
  muldiv: exactly('muldiv', 'arguments'),
  msr: ({ msr }, [index]) => (isKnown(index!) ? msr(Number(index!.value)) : openBits(U64, index!)),
  zeros: ({ zeros }, [from, to]) => zeros(Number(from!.value), Number(to!.value)),
  xsave_standard: exactly('xsave_standard', 'host'),
  xsave_compacted: exactly('xsave_compacted', 'host'),
  fms_listed: exactly('fms_listed', 'host'),
  fms_not_newer: exactly('fms_not_newer', 'host'),
  vmx_controls: exactly('vmx_controls', 'arguments'),
  vmx_fixed: exactly('vmx_fixed', 'arguments'),
};
