// MUL IMUL DIV IDIV MULX. SF, ZF, AF and PF of a product, and all flags of a quotient, are undefined.
import { CF, OF, RAX, RDX, VECTOR } from '../../cpu/bits.js';
import { GuestFault } from '../../cpu/fault.js';
import { bigPlaceOf } from '../big.js';
import type { Insn } from '../decode.js';
import { setSome, signZeroParity } from '../flags.js';
import type { Machine } from '../machine.js';
import { gprPlace, placeOf } from '../places.js';
import { widthOf } from './arithmetic.js';
import type { Family, Translate } from './family.js';

/** Puts a double-width value into AX, or into (E/R)DX and (E/R)AX. */
function setPair(m: Machine, value: bigint, bits: number): void {
  const { gprs, r16 } = m.state;
  if (bits === 8) {
    r16[4 * RAX] = Number(BigInt.asUintN(16, value));
  } else if (bits === 64) {
    gprs[RAX] = value;
    gprs[RDX] = value >> 64n;
  } else {
    gprPlace(RAX, bits).write(m, Number(BigInt.asIntN(bits, value)));
    gprPlace(RDX, bits).write(m, Number(BigInt.asIntN(bits, value >> BigInt(bits))));
  }
}

/** The double-width dividend, unsigned. */
function pair(m: Machine, bits: number): bigint {
  const { gprs, r16 } = m.state;
  if (bits === 8) return BigInt(r16[4 * RAX] as number);
  const part = (n: number): bigint => BigInt.asUintN(bits, gprs[n] as bigint);
  return (part(RDX) << BigInt(bits)) | part(RAX);
}

const overflowed = (m: Machine, overflow: boolean): void => setSome(m, CF | OF, overflow ? CF | OF : 0);

const signedOf = (value: bigint, bits: number): bigint => BigInt.asIntN(bits, value);
const fits = (value: bigint, bits: number): boolean => signedOf(value, bits) === value;

function multiply(signed: boolean): Translate {
  return (insn) => {
    const bits = widthOf(insn);
    const place = bigPlaceOf(insn, insn.operands[0], bits);
    return (m) => {
      const a = BigInt.asUintN(bits, m.state.gprs[RAX] as bigint);
      const b = place.read(m);
      const product = signed ? signedOf(a, bits) * signedOf(b, bits) : a * b;
      setPair(m, product, bits);
      overflowed(m, signed ? !fits(product, bits) : product >> BigInt(bits) !== 0n);
    };
  };
}

/** Two and three operands. */
function imulTo(insn: Insn): ReturnType<Translate> {
  const bits = widthOf(insn);
  const [to, first, third] = insn.operands;
  const [left, right] = third === undefined ? [to, first] : [first, third];
  if (bits === 32) {
    const target = placeOf(insn, to, 32);
    const a = placeOf(insn, left, 32);
    const b = placeOf(insn, right, 32);
    return (m) => {
      const x = a.read(m);
      const y = b.read(m);
      const r = Math.imul(x, y);
      target.write(m, r);
      // The product as a double is exact wherever it could equal 32 bits.
      setSome(m, 0xd4, signZeroParity(r, 32));
      overflowed(m, x * y !== r);
    };
  }
  const target = bigPlaceOf(insn, to, bits);
  const a = bigPlaceOf(insn, left, bits);
  const b = bigPlaceOf(insn, right, bits);
  return (m) => {
    const product = signedOf(a.read(m), bits) * signedOf(b.read(m), bits);
    target.write(m, BigInt.asUintN(bits, product));
    overflowed(m, !fits(product, bits));
  };
}

const imul: Translate = (insn) => (insn.operands.length === 1 ? multiply(true)(insn) : imulTo(insn));

function divide(signed: boolean): Translate {
  return (insn) => {
    const bits = widthOf(insn);
    const place = bigPlaceOf(insn, insn.operands[0], bits);
    return (m) => {
      const divisor = signed ? signedOf(place.read(m), bits) : place.read(m);
      const dividend = signed ? signedOf(pair(m, bits), 2 * bits) : pair(m, bits);
      if (divisor === 0n) throw new GuestFault(VECTOR.DE);
      const quotient = dividend / divisor;
      const remainder = dividend % divisor;
      if (signed ? !fits(quotient, bits) : quotient >> BigInt(bits) !== 0n) throw new GuestFault(VECTOR.DE);
      setPair(m, (BigInt.asUintN(bits, remainder) << BigInt(bits)) | BigInt.asUintN(bits, quotient), bits);
    };
  };
}

const mulx: Translate = (insn) => {
  const bits = widthOf(insn);
  const [high, low, source] = insn.operands;
  const highPlace = bigPlaceOf(insn, high, bits);
  const lowPlace = bigPlaceOf(insn, low, bits);
  const place = bigPlaceOf(insn, source, bits);
  return (m) => {
    const product = BigInt.asUintN(bits, m.state.gprs[RDX] as bigint) * place.read(m);
    lowPlace.write(m, BigInt.asUintN(bits, product));
    highPlace.write(m, product >> BigInt(bits));
  };
};

export const multiplication: Family = {
  Mul: multiply(false),
  Imul: imul,
  Div: divide(false),
  Idiv: divide(true),
  Mulx: mulx,
};
