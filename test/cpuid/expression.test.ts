import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Code, compileExpression, type Names } from '../../src/cpuid/expression/compile.js';
import { parseExpression } from '../../src/cpuid/expression/parse.js';
import type { Scope } from '../../src/cpuid/scope.js';

const names: Names = {
  registers: ({ leaf, subleaf }) => (leaf === 7 && subleaf === 0 ? 0 : leaf === 1 && subleaf === null ? 4 : undefined),
  variable: (name) => {
    const slot = ['attributes', 'tsc_frequency'].indexOf(name);
    return slot < 0 ? undefined : { space: 'td', slot, narrow: slot === 1 };
  },
  bit: (name, member) => (name === 'attributes' && member === 'PERFMON' ? 63 : undefined),
};

const compile = (text: string): Code => compileExpression(parseExpression(text, 'test'), names, 'test');

const scope = (fields: { attributes?: bigint; tsc_frequency?: number; virtual?: number[] } = {}): Scope => {
  const attributes = fields.attributes ?? 0n;
  return {
    host: { native: Uint32Array.from({ length: 8 }, (_, i) => 0x100 + i), msr: () => 0xffff_0000_0000_0001n },
    low: Uint32Array.of(Number(attributes & 0xffff_ffffn), fields.tsc_frequency ?? 0),
    high: Uint32Array.of(Number(attributes >> 32n), 0),
    virtual: Uint32Array.from(fields.virtual ?? [0, 0, 0, 0, 0, 0, 0, 0]),
    config: new Uint32Array(8),
    params: Uint8Array.of(0, 0, 7, 0),
  } as unknown as Scope;
};

const evaluate = (text: string, on: Scope = scope()): bigint => compile(text).wide(on);

describe('the expression language', () => {
  it('binds bit operators tighter than comparisons, so that masks need no parentheses', () => {
    expect(evaluate('6 & 2 == 2')).toBe(1n);
    expect(evaluate('1 | 2 == 3 && !0')).toBe(1n);
  });

  it('calculates with unsigned 64-bit integers', () => {
    expect(evaluate('~0')).toBe(2n ** 64n - 1n);
    expect(evaluate('0xffffffffffffffff + 2')).toBe(1n);
    expect(evaluate('0 - 1')).toBe(2n ** 64n - 1n);
    expect(evaluate('0xffffffff + 1')).toBe(0x1_0000_0000n);
    expect(evaluate('1 << 63')).toBe(2n ** 63n);
  });

  it('has a value for everything: dividing by zero gives 0, shifting too far too', () => {
    expect(evaluate('5 / 0')).toBe(0n);
    expect(evaluate('muldiv(5, 5, 0)')).toBe(0n);
    expect(evaluate('1 << 64')).toBe(0n);
  });

  it('multiplies to 128 bits before dividing in muldiv', () => {
    expect(evaluate('muldiv(10000000000, 0x1000000000000, 2000000000)')).toBe(5n * 2n ** 48n);
  });

  it('takes bits and ranges of bits', () => {
    expect(evaluate('0xabcd[15:8]')).toBe(0xabn);
    expect(evaluate('0xabcd[0]')).toBe(1n);
    expect(evaluate('msr(0x10a)[63:48]')).toBe(0xffffn);
  });

  it('reads registers of the TD, of the processor and of the configuration', () => {
    const on = scope({ virtual: [0, 0x10, 0, 0, 0, 0, 8, 0] });
    expect(evaluate('7.0.ebx[4] && 1.ecx[3]', on)).toBe(1n);
    expect(evaluate('native(7.0.ecx)', on)).toBe(0x102n);
    expect(evaluate('config(1.eax) + native(1.eax)', on)).toBe(0x104n);
  });

  it('knows fields of TD_PARAMS and their named bits', () => {
    const on = scope({ attributes: 1n << 63n, tsc_frequency: 40 });
    expect(evaluate('attributes.PERFMON ? tsc_frequency : 0', on)).toBe(40n);
    expect(evaluate('attributes[62:0] == 0', on)).toBe(1n);
  });

  it('looks at ranges of TD_PARAMS', () => {
    expect(evaluate('zeros(0, 1)')).toBe(1n);
    expect(evaluate('zeros(0, 2)')).toBe(0n);
    expect(evaluate('zeros(3, 9999)')).toBe(1n);
  });

  it.each([
    ['1 +', "test: '1 +': expected a value at 3, found the end"],
    ['(1', "test: '(1': expected ')' at 2, found the end"],
    ['1 2', "test: '1 2': expected the end at 2, found 2"],
    ['1[64]', "test: '1[64]': expected a bit number from 0 to 63 at 2, found 64"],
    ['1[0:4]', "test: '1[0:4]': expected bits as [high:low] at 5, found ]"],
    ['a $ b', "test: 'a $ b' is not an expression: unexpected '$' at 2"],
    ['nonsense', "test: 'nonsense' is not defined"],
    ['attributes.NOPE', "test: 'attributes' has no bit named 'NOPE'"],
    ['9.0.eax', 'test: CPUID leaf 0x9 is not in the document'],
    ['min(1)', 'test: min() takes 2 arguments, found 1'],
  ])('says what is wrong with %s', (text, message) => {
    expect(() => compile(text)).toThrow(message);
  });

  it('gives the same lower half with and without bigint, for any operator and any values', () => {
    const value = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
    const operator = fc.constantFrom('|', '^', '&', '+', '-', '*', '/', '<<', '>>', '<', '==', '&&', '||', '>=');
    fc.assert(
      fc.property(value, operator, value, fc.boolean(), (a, op, b, invert) => {
        const code = compile(`${invert ? '~' : ''}(${a} ${op} ${op === '<<' || op === '>>' ? b % 70n : b})`);
        const on = scope();
        expect(BigInt(code.low(on))).toBe(code.wide(on) & 0xffff_ffffn);
        if (code.narrow) expect(code.wide(on) >> 32n).toBe(0n);
      }),
    );
  });
});
