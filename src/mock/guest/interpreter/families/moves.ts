// MOV and its kin, LEA, XCHG, MOVBE, BSWAP, CMOVcc, SETcc, sign extensions, XLAT, CMPXCHG8B and 16B.
import { CR4_FSGSBASE, RAX, RBX, RCX, RDX, VECTOR, ZF } from '../../cpu/bits.js';
import { GuestFault, Stuck } from '../../cpu/fault.js';
import { isCanonical } from '../../cpu/paging.js';
import { signed } from '../../cpu/state.js';
import type { Exec } from '../code-cache.js';
import type { Insn } from '../decode.js';
import { CONDITIONS } from '../flags.js';
import type { Machine } from '../machine.js';
import { addressOf, bitsOf, effectiveAddress, gprPlace, gprPlace64, place64Of, placeOf, segmented } from '../places.js';
import { widthOf } from './arithmetic.js';
import { movControl } from './control.js';
import type { Family, Translate } from './family.js';
import { loadSegment } from './segments.js';

function plainMove(insn: Insn): Exec {
  const bits = widthOf(insn);
  const [to, from] = insn.operands;
  if (bits === 64) {
    const a = place64Of(insn, to);
    const b = place64Of(insn, from);
    return (m) => {
      b.load(m);
      a.store(m, m.lo, m.hi);
    };
  }
  const a = placeOf(insn, to, bits);
  const b = placeOf(insn, from, bits);
  return (m) => a.write(m, b.read(m));
}

/** A segment register read into a 32- or 64-bit register clears the rest of it; into memory it is 16 bits. */
function storeSegment(insn: Insn, number: number): Exec {
  const [to] = insn.operands;
  const name = (['es', 'cs', 'ss', 'ds', 'fs', 'gs'] as const)[number] as 'es';
  const place = placeOf(insn, to, to?.kind === 'reg' && to.bits > 16 ? 32 : 16);
  return (m) => place.write(m, m.state[name].selector);
}

const move: Translate = (insn) => {
  const [to, from] = insn.operands;
  if (to?.kind === 'reg' && to.file !== 'gpr') {
    if (to.file !== 'segment') return movControl(insn);
    const selector = placeOf(insn, from, 16);
    return (m) => loadSegment(m, to.number, selector.read(m));
  }
  if (from?.kind === 'reg' && from.file === 'segment') return storeSegment(insn, from.number);
  if (from?.kind === 'reg' && from.file !== 'gpr') return movControl(insn);
  return plainMove(insn);
};

const SIGN = {
  8: (value: number) => (value << 24) >> 24,
  16: (value: number) => (value << 16) >> 16,
  32: (value: number) => value,
};

/** MOVZX, MOVSX, MOVSXD. */
function extend(sign: boolean): Translate {
  return (insn) => {
    const [to, from] = insn.operands;
    const bits = bitsOf(to) as number;
    const fromBits = bitsOf(from) as 8 | 16 | 32;
    const source = placeOf(insn, from, fromBits);
    const value = sign ? SIGN[fromBits] : (x: number): number => x;
    if (bits === 64) {
      const place = place64Of(insn, to);
      return (m) => {
        const x = value(source.read(m));
        place.store(m, x, sign && x < 0 ? -1 : 0);
      };
    }
    const place = placeOf(insn, to, bits);
    return (m) => place.write(m, value(source.read(m)));
  };
}

const lea: Translate = (insn) => {
  const [to, from] = insn.operands;
  if (from?.kind !== 'memory') throw new Stuck('LEA of a register');
  const offset = effectiveAddress(from);
  const bits = bitsOf(to) as number;
  if (bits !== 64) {
    const place = placeOf(insn, to, bits);
    return (m) => place.write(m, offset(m) | 0);
  }
  const place = place64Of(insn, to);
  if (from.addressBits === 32) return (m) => place.store(m, offset(m) | 0, 0);
  return (m) => {
    const address = offset(m);
    // Not an address to LEA but a sum, of any size.
    if (Math.abs(address) < 2 ** 53) place.store(m, address | 0, Math.floor(address / 0x1_0000_0000) | 0);
    else storeExactly(m);
  };

  function storeExactly(m: Machine): void {
    const { gprs } = m.state;
    if (from?.kind !== 'memory' || to?.kind !== 'reg') return;
    const base = from.base < 0 ? 0n : (gprs[from.base] as bigint);
    const index = from.index < 0 ? 0n : (gprs[from.index] as bigint);
    gprs[to.number] = base + index * BigInt(from.scale) + from.displacement;
  }
};

const xchg: Translate = (insn) => {
  const bits = widthOf(insn);
  // The memory operand, where there is one, is the first: its write may fault.
  const [first, second] =
    insn.operands[1]?.kind === 'memory' ? [insn.operands[1], insn.operands[0]] : [insn.operands[0], insn.operands[1]];
  if (bits === 64) {
    const a = place64Of(insn, first);
    const b = place64Of(insn, second);
    return (m) => {
      a.loadForWrite(m);
      const { lo, hi } = m;
      b.load(m);
      a.storeBack(m, m.lo, m.hi);
      b.store(m, lo, hi);
    };
  }
  const a = placeOf(insn, first, bits);
  const b = placeOf(insn, second, bits);
  return (m) => {
    const old = a.readForWrite(m);
    a.writeBack(m, b.read(m));
    b.write(m, old);
  };
};

const swap32 = (x: number): number =>
  ((x & 0xff) << 24) | ((x & 0xff00) << 8) | ((x >>> 8) & 0xff00) | ((x >>> 24) & 0xff);
const swap16 = (x: number): number => ((x & 0xff) << 8) | (x >> 8);

const bswap: Translate = (insn) => {
  const bits = widthOf(insn);
  if (bits === 64) {
    const place = place64Of(insn, insn.operands[0]);
    return (m) => {
      place.load(m);
      place.store(m, swap32(m.hi), swap32(m.lo));
    };
  }
  const place = placeOf(insn, insn.operands[0], bits);
  // 16 bits: undefined; processors give 0.
  return (m) => place.write(m, bits === 32 ? swap32(place.read(m)) : 0);
};

const movbe: Translate = (insn) => {
  const bits = widthOf(insn);
  const [to, from] = insn.operands;
  if (bits === 64) {
    const a = place64Of(insn, to);
    const b = place64Of(insn, from);
    return (m) => {
      b.load(m);
      a.store(m, swap32(m.hi), swap32(m.lo));
    };
  }
  const a = placeOf(insn, to, bits);
  const b = placeOf(insn, from, bits);
  const swap = bits === 32 ? swap32 : swap16;
  return (m) => a.write(m, swap(b.read(m)));
};

/** The source is read, and may fault, whether or not the condition holds; 32 bits clear the upper half in either case. */
function cmov(condition: string): Translate {
  const holds = CONDITIONS[condition] as (flags: number) => boolean;
  return (insn) => {
    const bits = widthOf(insn);
    const [to, from] = insn.operands;
    if (bits === 64) {
      const a = place64Of(insn, to);
      const b = place64Of(insn, from);
      return (m) => {
        b.load(m);
        if (holds(m.state.flags)) a.store(m, m.lo, m.hi);
      };
    }
    const a = placeOf(insn, to, bits);
    const b = placeOf(insn, from, bits);
    return (m) => {
      const value = b.read(m);
      a.write(m, holds(m.state.flags) ? value : a.read(m));
    };
  };
}

function setcc(condition: string): Translate {
  const holds = CONDITIONS[condition] as (flags: number) => boolean;
  return (insn) => {
    const place = placeOf(insn, insn.operands[0], 8);
    return (m) => place.write(m, holds(m.state.flags) ? 1 : 0);
  };
}

const always =
  (exec: Exec): Translate =>
  () =>
    exec;

/** CBW, CWDE, CDQE: into RAX; CWD, CDQ, CQO: the sign of RAX into RDX. */
const extensions: Family = {
  Cbw: always(({ state: { r8, r16 } }) => {
    r16[4 * RAX] = ((r8[8 * RAX] as number) << 24) >> 24;
  }),
  Cwde: always(({ state: { r16, r32 } }) => {
    r32[2 * RAX] = ((r16[4 * RAX] as number) << 16) >> 16;
    r32[2 * RAX + 1] = 0;
  }),
  Cdqe: always(({ state: { r32 } }) => {
    r32[2 * RAX + 1] = (r32[2 * RAX] as number) >> 31;
  }),
  Cwd: always(({ state: { r16 } }) => {
    r16[4 * RDX] = ((r16[4 * RAX] as number) << 16) >> 31;
  }),
  Cdq: always(({ state: { r32 } }) => {
    r32[2 * RDX] = (r32[2 * RAX] as number) >> 31;
    r32[2 * RDX + 1] = 0;
  }),
  Cqo: always(({ state: { r32 } }) => {
    const sign = (r32[2 * RAX + 1] as number) >> 31;
    r32[2 * RDX] = sign;
    r32[2 * RDX + 1] = sign;
  }),
};

/** AL of the table at (E)BX. */
const xlat: Translate = (insn) => {
  const [operand] = insn.operands;
  if (operand?.kind !== 'memory') throw new Stuck('XLAT of this form');
  const { segment, base } = operand;
  const wide = operand.addressBits === 64;
  return (m) => {
    const { state } = m;
    const table = wide ? state.signedGpr(base) : plainLow(m, base);
    const offset = table + (state.r8[8 * RAX] as number);
    state.r8[8 * RAX] = m.read8(segmented(m, segment, wide ? offset : offset >>> 0, 1, false));
  };
};
const plainLow = (m: Machine, n: number): number => (m.state.r32[2 * n] as number) >>> 0;

const cmpxchg8b: Translate = (insn) => {
  const place = place64Of(insn, insn.operands[0]);
  return (m) => {
    const { state } = m;
    const { r32 } = state;
    place.loadForWrite(m);
    const { lo, hi } = m;
    if (lo === r32[2 * RAX] && hi === r32[2 * RDX]) {
      state.flags |= ZF;
      place.storeBack(m, r32[2 * RBX] as number, r32[2 * RCX] as number);
    } else {
      state.flags &= ~ZF;
      place.storeBack(m, lo, hi);
      gprPlace(RAX, 32).write(m, lo);
      gprPlace(RDX, 32).write(m, hi);
    }
  };
};

const cmpxchg16b: Translate = (insn) => {
  const [operand] = insn.operands;
  if (operand?.kind !== 'memory') throw new Stuck('CMPXCHG16B of a register');
  const address = addressOf(insn, operand, 16);
  return (m) => {
    const { state } = m;
    const linear = address(m, true);
    if (linear % 16 !== 0) throw new GuestFault(VECTOR.GP, 0);
    m.probeWrite(linear, 16);
    const held = new BigUint64Array(m.readBytes(linear, 16).buffer);
    const [low, high] = held as unknown as [bigint, bigint];
    if (low === state.gprs[RAX] && high === state.gprs[RDX]) {
      state.flags |= ZF;
      held[0] = state.gprs[RBX] as bigint;
      held[1] = state.gprs[RCX] as bigint;
    } else {
      state.flags &= ~ZF;
      state.gprs[RAX] = low;
      state.gprs[RDX] = high;
    }
    m.writeBytes(linear, new Uint8Array(held.buffer));
  };
};

/** RDFSBASE and its kin. */
function segmentBase(segment: 'fs' | 'gs', write: boolean): Translate {
  return (insn) => {
    const wide = widthOf(insn) === 64;
    const [operand] = insn.operands;
    const place = gprPlace64(operand?.kind === 'reg' ? operand.number : 0);
    return (m) => {
      const { state } = m;
      if ((state.cr4 & CR4_FSGSBASE) === 0) throw new GuestFault(VECTOR.UD);
      if (!write) {
        const { base } = state[segment];
        place.store(m, base | 0, wide ? Math.floor(base / 0x1_0000_0000) | 0 : 0);
        return;
      }
      place.load(m);
      const base = wide ? signed((BigInt(m.hi) << 32n) | BigInt(m.lo >>> 0)) : m.lo >>> 0;
      if (!isCanonical(base)) throw new GuestFault(VECTOR.GP, 0);
      state[segment].base = base;
    };
  };
}

const suffixed = (prefix: string, make: (condition: string) => Translate): Family =>
  Object.fromEntries(Object.keys(CONDITIONS).map((condition) => [`${prefix}${condition}`, make(condition)]));

export const moves: Family = {
  Mov: move,
  Movzx: extend(false),
  Movsx: extend(true),
  Movsxd: (insn) => (bitsOf(insn.operands[0]) === 64 ? extend(true)(insn) : plainMove(insn)),
  Movnti: plainMove,
  Lea: lea,
  Xchg: xchg,
  Bswap: bswap,
  Movbe: movbe,
  Xlatb: xlat,
  Cmpxchg8b: cmpxchg8b,
  Cmpxchg16b: cmpxchg16b,
  Rdfsbase: segmentBase('fs', false),
  Rdgsbase: segmentBase('gs', false),
  Wrfsbase: segmentBase('fs', true),
  Wrgsbase: segmentBase('gs', true),
  ...extensions,
  ...suffixed('Cmov', cmov),
  ...suffixed('Set', setcc),
};
