// Values of any width as bigints: slower than halves, and one way of writing for instructions that are rare.
import type { Insn, Operand } from './decode.js';
import type { Machine } from './machine.js';
import { type Place, type Place64, place64Of, placeOf } from './places.js';

const big = new BigUint64Array(1);
const halves = new Int32Array(big.buffer);

/** `m.lo`, `m.hi` as one number, unsigned. */
export function joined(m: Machine): bigint {
  halves[0] = m.lo;
  halves[1] = m.hi;
  return big[0] as bigint;
}

/** Into `m.lo`, `m.hi`, modulo 2^64. */
export function split(m: Machine, value: bigint): void {
  big[0] = value;
  m.lo = halves[0] as number;
  m.hi = halves[1] as number;
}

/** An operand read and written as an unsigned bigint. */
export interface BigPlace {
  read(m: Machine): bigint;
  readForWrite(m: Machine): bigint;
  write(m: Machine, value: bigint): void;
  writeBack(m: Machine, value: bigint): void;
}

function wide(place: Place64): BigPlace {
  const put = (store: 'store' | 'storeBack') => (m: Machine, value: bigint) => {
    split(m, value);
    place[store](m, m.lo, m.hi);
  };
  const get = (load: 'load' | 'loadForWrite') => (m: Machine) => {
    place[load](m);
    return joined(m);
  };
  return { read: get('load'), readForWrite: get('loadForWrite'), write: put('store'), writeBack: put('storeBack') };
}

function narrow(place: Place, bits: number): BigPlace {
  const up = (value: number): bigint => BigInt.asUintN(bits, BigInt(value));
  const down = (value: bigint): number =>
    bits === 32 ? Number(BigInt.asIntN(32, value)) : Number(BigInt.asUintN(bits, value));
  return {
    read: (m) => up(place.read(m)),
    readForWrite: (m) => up(place.readForWrite(m)),
    write: (m, value) => place.write(m, down(value)),
    writeBack: (m, value) => place.writeBack(m, down(value)),
  };
}

export const bigPlaceOf = (insn: Insn, operand: Operand | undefined, bits: number): BigPlace =>
  bits === 64 ? wide(place64Of(insn, operand)) : narrow(placeOf(insn, operand, bits), bits);
