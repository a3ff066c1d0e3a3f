// SSE and SSE2 on whole registers: moves, logic, integer arithmetic of packed values. No floating point.
import { VECTOR } from '../../cpu/bits.js';
import { GuestFault, Stuck } from '../../cpu/fault.js';
import type { Insn, Operand } from '../decode.js';
import type { Machine } from '../machine.js';
import { addressOf, placeOf } from '../places.js';
import type { Family, Translate } from './family.js';
import { sseAvailable } from './fpu.js';
import { string } from './strings.js';

const XMM0 = 160;

/** XMM register `n`, live. */
const xmm = (m: Machine, n: number): Uint8Array => m.state.fx.subarray(XMM0 + 16 * n, XMM0 + 16 * n + 16);

interface Vector {
  /** `size` bytes. */
  read(m: Machine): Uint8Array;
  /** Into the low bytes of a register, all of memory. */
  write(m: Machine, bytes: Uint8Array): void;
  register: boolean;
}

/** @param aligned whether an address that is no multiple of 16 faults. */
function vectorOf(insn: Insn, operand: Operand | undefined, size: number, aligned: boolean): Vector {
  if (operand?.kind === 'reg' && operand.file === 'xmm') {
    const { number } = operand;
    return {
      read: (m) => xmm(m, number).slice(0, size),
      write: (m, bytes) => xmm(m, number).set(bytes),
      register: true,
    };
  }
  if (operand?.kind !== 'memory') throw new Stuck('operands of this kind');
  const address = addressOf(insn, operand, size);
  const at = (m: Machine, write: boolean): number => {
    const linear = address(m, write);
    if (aligned && linear % 16 !== 0) throw new GuestFault(VECTOR.GP, 0);
    return linear;
  };
  return {
    read: (m) => m.readBytes(at(m, false), size),
    write: (m, bytes) => m.writeBytes(at(m, true), bytes),
    register: false,
  };
}

/** @param clear whether a load from memory clears the rest of the register (and, for MOVQ, a move between registers). */
function move(size: number, aligned: boolean, clear: 'never' | 'from memory' | 'always'): Translate {
  return (insn) => {
    const to = vectorOf(insn, insn.operands[0], size, aligned);
    const from = vectorOf(insn, insn.operands[1], size, aligned);
    const clears = to.register && (clear === 'always' || (clear === 'from memory' && !from.register));
    return (m) => {
      sseAvailable(m);
      const bytes = from.read(m);
      if (!clears) return to.write(m, bytes);
      const whole = new Uint8Array(16);
      whole.set(bytes);
      to.write(m, whole);
    };
  };
}

/** MOVD and MOVQ between XMM and general registers or memory. */
function moveGeneral(name: 'Movd' | 'Movq'): Translate {
  const size = name === 'Movd' ? 4 : 8;
  return (insn) => {
    const [to, from] = insn.operands;
    if (/_mm_|_mm$|_mmm/.test(insn.code)) throw new Stuck('MMX');
    const wide = /rm64/.test(insn.code) ? 8 : size;
    const general = (operand: Operand | undefined): operand is Extract<Operand, { kind: 'reg' }> =>
      operand?.kind === 'reg' && operand.file === 'gpr';
    if (general(to)) {
      const source = vectorOf(insn, from, wide, false);
      return (m) => {
        sseAvailable(m);
        const view = new DataView(source.read(m).buffer);
        m.state.gprs[to.number] = wide === 8 ? view.getBigUint64(0, true) : BigInt(view.getUint32(0, true));
      };
    }
    if (general(from)) {
      const target = vectorOf(insn, to, 16, false);
      return (m) => {
        sseAvailable(m);
        const whole = new Uint8Array(16);
        whole.set(m.state.r8.subarray(8 * from.number, 8 * from.number + wide));
        target.write(m, whole);
      };
    }
    return move(wide, false, 'always')(insn);
  };
}

/** High and low halves: which eight bytes of a register are loaded or stored, and from where of another register. */
function half(high: boolean, fromOtherHalf: boolean): Translate {
  const offset = high ? 8 : 0;
  return (insn) => {
    const [to, from] = insn.operands;
    if (to?.kind === 'reg') {
      const source = vectorOf(insn, from, from?.kind === 'reg' ? 16 : 8, false);
      return (m) => {
        sseAvailable(m);
        const bytes = source.read(m);
        const start = fromOtherHalf && bytes.length === 16 ? 8 - offset : 0;
        xmm(m, to.number).set(bytes.subarray(start, start + 8), offset);
      };
    }
    const target = vectorOf(insn, to, 8, false);
    const number = from?.kind === 'reg' ? from.number : 0;
    return (m) => {
      sseAvailable(m);
      target.write(m, xmm(m, number).slice(offset, offset + 8));
    };
  };
}

/** A value of the first operand's lanes from both operands' lanes. */
type Lane = (a: bigint, b: bigint, bits: number) => bigint;

const LANES = {
  8: (bytes: Uint8Array) => bytes,
  16: (bytes: Uint8Array) => new Uint16Array(bytes.buffer),
  32: (bytes: Uint8Array) => new Uint32Array(bytes.buffer),
} as const;

/** Whole-register operation: both operands as fresh arrays of 16 bytes, the first of which becomes the result. */
function whole(compute: (a: Uint8Array, b: Uint8Array) => Uint8Array): Translate {
  return (insn) => {
    const to = vectorOf(insn, insn.operands[0], 16, true);
    const from = vectorOf(insn, insn.operands[1], 16, true);
    if (!to.register) throw new Stuck('MMX');
    return (m) => {
      sseAvailable(m);
      const b = from.read(m);
      to.write(m, compute(to.read(m), b));
    };
  };
}

function lanes(bits: 8 | 16 | 32, compute: (a: number, b: number) => number): Translate {
  return whole((a, b) => {
    const x = LANES[bits](a);
    const y = LANES[bits](b);
    for (let n = 0; n < x.length; n++) x[n] = compute(x[n] as number, y[n] as number);
    return a;
  });
}

function lanes64(compute: Lane): Translate {
  return whole((a, b) => {
    const x = new BigUint64Array(a.buffer);
    const y = new BigUint64Array(b.buffer);
    for (let n = 0; n < 2; n++) x[n] = compute(x[n] as bigint, y[n] as bigint, 64);
    return a;
  });
}

const and = lanes(32, (a, b) => a & b);
const andNot = lanes(32, (a, b) => ~a & b);
const or = lanes(32, (a, b) => a | b);
const xor = lanes(32, (a, b) => a ^ b);

const signedLane = (value: number, bits: number): number => (value << (32 - bits)) >> (32 - bits);
const greater = (bits: 8 | 16 | 32): Translate =>
  lanes(bits, (a, b) => (signedLane(a, bits) > signedLane(b, bits) ? -1 : 0));
const equal = (bits: 8 | 16 | 32): Translate => lanes(bits, (a, b) => (a === b ? -1 : 0));

/** Lanes of `size` bytes from the low or high halves, alternately. */
function unpack(size: number, high: boolean): Translate {
  return whole((a, b) => {
    const r = new Uint8Array(16);
    const start = high ? 8 : 0;
    for (let n = 0; n < 8; n += size) {
      r.set(a.subarray(start + n, start + n + size), 2 * n);
      r.set(b.subarray(start + n, start + n + size), 2 * n + size);
    }
    return r;
  });
}

/** PSHUFD, PSHUFLW, PSHUFHW: four lanes, chosen by two bits each. */
function shuffle(size: 2 | 4, offset: number): Translate {
  return (insn) => {
    const to = vectorOf(insn, insn.operands[0], 16, true);
    const from = vectorOf(insn, insn.operands[1], 16, true);
    const order = placeOf(insn, insn.operands[2], 8);
    return (m) => {
      sseAvailable(m);
      const source = from.read(m);
      const r = source.slice();
      for (let n = 0; n < 4; n++) {
        const at = offset + ((order.read(m) >> (2 * n)) & 3) * size;
        r.set(source.subarray(at, at + size), offset + n * size);
      }
      to.write(m, r);
    };
  };
}

/** SHUFPS, SHUFPD: low lanes from the first operand, high ones from the second. */
function shuffleTwo(size: 4 | 8): Translate {
  return (insn) => {
    const to = vectorOf(insn, insn.operands[0], 16, true);
    const from = vectorOf(insn, insn.operands[1], 16, true);
    const order = placeOf(insn, insn.operands[2], 8);
    const count = 16 / size;
    return (m) => {
      sseAvailable(m);
      const b = from.read(m);
      const a = to.read(m);
      const r = new Uint8Array(16);
      const bits = size === 4 ? 2 : 1;
      for (let n = 0; n < count; n++) {
        const at = ((order.read(m) >> (bits * n)) & (count - 1)) * size;
        r.set((n < count / 2 ? a : b).subarray(at, at + size), n * size);
      }
      to.write(m, r);
    };
  };
}

/** Shifts of lanes, by an immediate or the low 64 bits of a register; more than the width gives 0, or the sign. */
function shiftLanes(bits: 16 | 32 | 64, compute: Lane): Translate {
  return (insn) => {
    const to = vectorOf(insn, insn.operands[0], 16, true);
    const [, operand] = insn.operands;
    const constant = operand?.kind === 'immediate' ? operand.value & 0xffn : undefined;
    const from = constant === undefined ? vectorOf(insn, operand, 16, true) : undefined;
    return (m) => {
      sseAvailable(m);
      const n = constant ?? new DataView((from as Vector).read(m).buffer).getBigUint64(0, true);
      const bytes = to.read(m);
      let value = bytes.reduceRight((all, byte) => (all << 8n) | BigInt(byte), 0n);
      let r = 0n;
      for (let at = 0; at < 128; at += bits) {
        const lane = BigInt.asUintN(bits, value);
        r |= BigInt.asUintN(bits, compute(lane, n, bits)) << BigInt(at);
        value >>= BigInt(bits);
      }
      to.write(
        m,
        Uint8Array.from({ length: 16 }, (_, at) => Number((r >> BigInt(8 * at)) & 0xffn)),
      );
    };
  };
}

const left: Lane = (a, n, bits) => (n >= BigInt(bits) ? 0n : a << n);
const right: Lane = (a, n, bits) => (n >= BigInt(bits) ? 0n : a >> n);
const rightSigned: Lane = (a, n, bits) => BigInt.asIntN(bits, a) >> (n >= BigInt(bits) ? BigInt(bits - 1) : n);

/** PSLLDQ, PSRLDQ: by bytes. */
function shiftBytes(up: boolean): Translate {
  return (insn) => {
    const to = vectorOf(insn, insn.operands[0], 16, true);
    const count = placeOf(insn, insn.operands[1], 8);
    return (m) => {
      sseAvailable(m);
      const n = Math.min(count.read(m), 16);
      const bytes = to.read(m);
      const r = new Uint8Array(16);
      if (up) r.set(bytes.subarray(0, 16 - n), n);
      else r.set(bytes.subarray(n), 0);
      to.write(m, r);
    };
  };
}

/** The top bits of lanes, into a general register. */
function signMask(size: 1 | 4 | 8): Translate {
  return ({ operands: [to, from] }) => {
    if (to?.kind !== 'reg' || from?.kind !== 'reg' || from.file !== 'xmm') throw new Stuck('MMX');
    return (m) => {
      sseAvailable(m);
      const bytes = xmm(m, from.number);
      let mask = 0;
      for (let n = 0; n < 16 / size; n++) mask |= ((bytes[n * size + size - 1] as number) >> 7) << n;
      m.state.gprs[to.number] = BigInt(mask);
    };
  };
}

const multiply32 = lanes64((a, b) => BigInt.asUintN(32, a) * BigInt.asUintN(32, b));

/** MOVSD and CMPSD are string instructions as well. */
const orString = (action: string, vector: Translate | undefined): Translate => {
  const element = string(action, 4);
  return (insn) => {
    if (insn.operands.some(({ kind }) => kind === 'string')) return element(insn);
    if (vector === undefined) throw new Stuck('floating point');
    return vector(insn);
  };
};

const names = (list: string, translate: Translate): Family =>
  Object.fromEntries(list.split(' ').map((name) => [name, translate]));

export const sse: Family = {
  ...names('Movaps Movapd Movdqa Movntps Movntpd Movntdq Movntdqa', move(16, true, 'never')),
  ...names('Movups Movupd Movdqu Lddqu', move(16, false, 'never')),
  Movss: move(4, false, 'from memory'),
  Movsd: orString('Movs', move(8, false, 'from memory')),
  Cmpsd: orString('Cmps', undefined),
  Movd: moveGeneral('Movd'),
  Movq: moveGeneral('Movq'),
  Movlps: half(false, false),
  Movlpd: half(false, false),
  Movhps: half(true, false),
  Movhpd: half(true, false),
  Movhlps: half(false, true),
  Movlhps: half(true, false),
  ...names('Andps Andpd Pand', and),
  ...names('Andnps Andnpd Pandn', andNot),
  ...names('Orps Orpd Por', or),
  ...names('Xorps Xorpd Pxor', xor),
  Paddb: lanes(8, (a, b) => a + b),
  Paddw: lanes(16, (a, b) => a + b),
  Paddd: lanes(32, (a, b) => a + b),
  Paddq: lanes64((a, b) => a + b),
  Psubb: lanes(8, (a, b) => a - b),
  Psubw: lanes(16, (a, b) => a - b),
  Psubd: lanes(32, (a, b) => a - b),
  Psubq: lanes64((a, b) => a - b),
  Pmullw: lanes(16, (a, b) => Math.imul(a, b)),
  Pmuludq: multiply32,
  Pcmpeqb: equal(8),
  Pcmpeqw: equal(16),
  Pcmpeqd: equal(32),
  Pcmpgtb: greater(8),
  Pcmpgtw: greater(16),
  Pcmpgtd: greater(32),
  Pminub: lanes(8, Math.min),
  Pmaxub: lanes(8, Math.max),
  Pminsw: lanes(16, (a, b) => Math.min(signedLane(a, 16), signedLane(b, 16))),
  Pmaxsw: lanes(16, (a, b) => Math.max(signedLane(a, 16), signedLane(b, 16))),
  Punpcklbw: unpack(1, false),
  Punpcklwd: unpack(2, false),
  ...names('Punpckldq Unpcklps', unpack(4, false)),
  ...names('Punpcklqdq Unpcklpd', unpack(8, false)),
  Punpckhbw: unpack(1, true),
  Punpckhwd: unpack(2, true),
  ...names('Punpckhdq Unpckhps', unpack(4, true)),
  ...names('Punpckhqdq Unpckhpd', unpack(8, true)),
  Pshufd: shuffle(4, 0),
  Pshuflw: shuffle(2, 0),
  Pshufhw: shuffle(2, 8),
  Shufps: shuffleTwo(4),
  Shufpd: shuffleTwo(8),
  Psllw: shiftLanes(16, left),
  Pslld: shiftLanes(32, left),
  Psllq: shiftLanes(64, left),
  Psrlw: shiftLanes(16, right),
  Psrld: shiftLanes(32, right),
  Psrlq: shiftLanes(64, right),
  Psraw: shiftLanes(16, rightSigned),
  Psrad: shiftLanes(32, rightSigned),
  Pslldq: shiftBytes(true),
  Psrldq: shiftBytes(false),
  Pmovmskb: signMask(1),
  Movmskps: signMask(4),
  Movmskpd: signMask(8),
};
