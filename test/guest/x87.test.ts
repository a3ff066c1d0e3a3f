import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { runProgram } from './user-program.js';

const DATA = 0xc000;
const RBX = 3;
const FINIT = [0xdb, 0xe3];
/** IE, ZE, PE and C1. */
const STATUS = 0x225;
const [CF, PF, ZF, ALL_FLAGS] = [0x01, 0x04, 0x40, 0x8d5];

/** Little-endian bytes of eight-byte numbers. */
const words = (...values: bigint[]) => [...new Uint8Array(new BigUint64Array(values).buffer)];
const double = (value: number) => new DataView(new Float64Array([value]).buffer).getBigUint64(0, true);

/** Loads b, then a, and executes `code`: RBX is at a, b, the control word and eight bytes of zeros. */
function withOperands(a: bigint, b: bigint, code: readonly number[], control = 0x37fn) {
  const program = [...FINIT, 0xd9, 0x6b, 16, 0xdd, 0x43, 8, 0xdd, 0x03, ...code];
  const { state, memory, event } = runProgram(program, { [RBX]: BigInt(DATA) }, { data: words(a, b, control, 0n) });
  const { fx, fxView, flags } = state;
  const register = (i: number) => [fxView.getBigUint64(32 + 16 * i, true), fxView.getUint16(40 + 16 * i, true)];
  const result = new DataView(memory.bytes.buffer, memory.bytes.byteOffset + DATA + 24, 8);
  const status = fxView.getUint16(2, true);
  return { event, register, result, status: status & STATUS, top: (status >> 11) & 7, tags: fx[4], flags };
}

const rows = readFileSync(new URL('x87-results.txt', import.meta.url), 'utf8')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'))
  .map((line) => line.split(' ').map((field) => BigInt(`0x${field}`)));

describe('the x87 unit, against results of a processor', () => {
  it.each([
    ['fadd', 0xc1, 3],
    ['fsub', 0xe1, 6],
    ['fmul', 0xc9, 9],
    ['fdiv', 0xf1, 12],
  ])('%s rounds to 64 bits, in all four ways', (_, operation, at) => {
    for (const row of rows) {
      const [a = 0n, b = 0n, rounding = 0n] = row;
      if (operation === 0xf1 && BigInt.asUintN(63, b) === 0n) continue;
      const { register, status } = withOperands(a, b, [0xd8, operation], 0x37fn | (rounding << 10n));
      const [significand = 0n, signAndExponent = 0n, expected = 0n] = row.slice(at);
      expect([...register(0), status], row.join(' ')).toEqual([significand, Number(signAndExponent), Number(expected)]);
    }
  });

  it('fistp rounds to an integer of 64 bits, in all four ways', () => {
    for (const row of rows) {
      const [a = 0n, b = 0n, rounding = 0n] = row;
      const [integer, expected = 0n] = row.slice(17);
      const { event, result, status } = withOperands(a, b, [0xdf, 0x7b, 24], 0x37fn | (rounding << 10n));
      if ((expected & 1n) !== 0n) expect(event, row.join(' ')).toMatchObject({ kind: 'stuck' });
      else expect([result.getBigUint64(0, true), status], row.join(' ')).toEqual([integer, Number(expected)]);
    }
  });
});

describe('the stack of the x87 unit', () => {
  const [one, two] = [double(1), double(2)];
  const ONE = [1n << 63n, 0x3fff];
  const TWO = [1n << 63n, 0x4000];

  it('grows downwards: the last one loaded is ST(0), tags are by number', () => {
    const { register, top, tags } = withOperands(one, two, []);
    expect([register(0), register(1), top, tags]).toEqual([ONE, TWO, 6, 0xc0]);
  });

  it('fxch exchanges, fstp st(1) drops the second, fld st(1) takes a copy', () => {
    const exchanged = withOperands(one, two, [0xd9, 0xc9]);
    expect([exchanged.register(0), exchanged.register(1)]).toEqual([TWO, ONE]);
    const dropped = withOperands(one, two, [0xdd, 0xd9]);
    expect([dropped.register(0), dropped.top, dropped.tags]).toEqual([ONE, 7, 0x80]);
    const copied = withOperands(one, two, [0xd9, 0xc1]);
    expect([copied.register(0), copied.register(2), copied.top]).toEqual([TWO, TWO, 5]);
  });

  it('fsubp st(1) is ST(1) - ST(0), fsubrp the other way round, and both pop', () => {
    const value = (code: number[]) => withOperands(double(3), double(10), [...code, 0xdd, 0x5b, 24]);
    expect(value([0xde, 0xe9]).result.getFloat64(0, true)).toBe(7);
    expect(value([0xde, 0xe1]).result.getFloat64(0, true)).toBe(-7);
    expect(value([0xde, 0xe9])).toMatchObject({ top: 0, tags: 0 });
  });

  it('memory operands: float, 32-bit integer', () => {
    const with8 = (code: number[]) => {
      const ran = withOperands(double(5), one, [0xc7, 0x43, 24, 0, 0, 0, 0x41, ...code, 0xdd, 0x5b, 24]);
      return ran.result.getFloat64(0, true);
    };
    expect(with8([0xd8, 0x4b, 24])).toBe(40); // fmul dword: 8.0
    expect(with8([0xda, 0x43, 24])).toBe(5 + 0x4100_0000); // fiadd dword
  });

  it.each([
    [1, 2, CF],
    [2, 2, ZF],
    [2, 1, 0],
    [-0, 0, ZF],
    [-2, 1, CF],
  ])('fcomi of %d and %d sets flags as an unsigned comparison, and clears the others', (a, b, flags) => {
    const compared = withOperands(double(a), double(b), [0x48, 0x39, 0xe4, 0xdb, 0xf1]);
    expect(compared.flags & ALL_FLAGS).toBe(flags);
    expect(compared.flags & PF).toBe(0);
  });

  it('fcmovnbe moves if neither CF nor ZF is set', () => {
    const moved = (a: number, b: number) => withOperands(double(a), double(b), [0xdb, 0xf1, 0xdb, 0xd1]).register(0);
    expect(moved(2, 1)).toEqual(ONE);
    expect(moved(1, 2)).toEqual(ONE);
    expect(moved(2, 2)).toEqual(TWO);
  });

  it.each<[string, bigint, number[], bigint?]>([
    ['an empty register', one, [0xd8, 0xc2]],
    ['a full stack', one, [0xd9, 0xe8, 0xd9, 0xe8, 0xd9, 0xe8, 0xd9, 0xe8, 0xd9, 0xe8, 0xd9, 0xe8, 0xd9, 0xe8]],
    ['an infinity or NaN', double(Number.POSITIVE_INFINITY), []],
    ['a denormal number', 1n, []],
    ['a division by zero', one, [0xd9, 0xee, 0xde, 0xf9]],
    ['unmasked exceptions', one, [], 0x37en],
    ['reduced precision', double(1 / 3), [0xd8, 0xc8], 0x27fn],
  ])('what it would have to invent, it says that it lacks: %s', (what, a, code, control) => {
    const { event } = withOperands(a, two, code, control);
    expect(event).toMatchObject({ kind: 'stuck', why: expect.stringContaining(what) });
  });
});
