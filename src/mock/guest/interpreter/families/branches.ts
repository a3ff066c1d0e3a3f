// Near JMP, CALL and RET, Jcc, LOOP, and their far forms by segments of the GDT.
import { RCX, VECTOR, ZF } from '../../cpu/bits.js';
import { GuestFault, Stuck } from '../../cpu/fault.js';
import { isCanonical } from '../../cpu/paging.js';
import { signed } from '../../cpu/state.js';
import { joined } from '../big.js';
import type { Exec } from '../code-cache.js';
import type { Insn } from '../decode.js';
import { CONDITIONS } from '../flags.js';
import type { Machine } from '../machine.js';
import { place64Of, placeOf } from '../places.js';
import type { Family, Translate } from './family.js';
import { farCall, farJump, farReturn } from './far.js';
import { peek, push, release } from './stack.js';

/** Target of a direct branch, as IPs are kept. */
function targetOf(insn: Insn): number {
  const [operand] = insn.operands;
  if (operand?.kind !== 'near') throw new Stuck('a branch of this form');
  return insn.bits === 64 ? signed(operand.target) : Number(BigInt.asUintN(32, operand.target));
}

/** Where the target leads out of what can be addressed, the branch itself faults. */
function checkTarget(m: Machine, target: number): number {
  const outside = m.state.in64 ? !isCanonical(target) : target > m.state.cs.limit;
  if (outside) throw new GuestFault(VECTOR.GP, 0);
  return target;
}

/** Target of an indirect branch, read from its operand. */
function indirect(insn: Insn): (m: Machine) => number {
  if (insn.bits === 64) {
    const place = place64Of(insn, insn.operands[0]);
    return (m) => {
      place.load(m);
      return checkTarget(m, signed(joined(m)));
    };
  }
  const place = placeOf(insn, insn.operands[0], 32);
  return (m) => checkTarget(m, place.read(m) >>> 0);
}

const isFar = (code: string): boolean => /_m16(16|32|64)$|_ptr16/.test(code);
const refuse16 = (insn: Insn): void => {
  if (/_16(_|$)|rel16|rm16$|Retnw/.test(insn.code)) throw new Stuck('a branch with 16-bit operands');
};

const jump: Translate = (insn) => {
  if (isFar(insn.code)) return farJump(insn);
  refuse16(insn);
  if (insn.operands[0]?.kind === 'near') {
    const target = targetOf(insn);
    return (m) => {
      m.next = checkTarget(m, target);
    };
  }
  const target = indirect(insn);
  return (m) => {
    m.next = target(m);
  };
};

/** Pushes an IP in the width of the code. */
function pushIp(m: Machine, ip: number): void {
  if (m.state.in64) push(m, 8, ip | 0, Math.floor(ip / 0x1_0000_0000) | 0);
  else push(m, 4, ip | 0, 0);
}

const call: Translate = (insn) => {
  if (isFar(insn.code)) return farCall(insn);
  refuse16(insn);
  const direct = insn.operands[0]?.kind === 'near' ? targetOf(insn) : undefined;
  const target = direct === undefined ? indirect(insn) : (m: Machine) => checkTarget(m, direct);
  return (m) => {
    const to = target(m);
    pushIp(m, m.next);
    m.next = to;
  };
};

const ret: Translate = (insn) => {
  refuse16(insn);
  const [operand] = insn.operands;
  const size = insn.bits === 64 ? 8 : 4;
  const bytes = size + (operand?.kind === 'immediate' ? Number(operand.value & 0xffffn) : 0);
  return (m) => {
    peek(m, size);
    m.next = checkTarget(m, size === 8 ? signed(joined(m)) : m.lo >>> 0);
    release(m, bytes);
  };
};

function conditional(insn: Insn, holds: (m: Machine) => boolean): Exec {
  refuse16(insn);
  const target = targetOf(insn);
  return (m) => {
    if (holds(m)) m.next = checkTarget(m, target);
  };
}

const jcc = (condition: string): Translate => {
  const holds = CONDITIONS[condition] as (flags: number) => boolean;
  return (insn) => conditional(insn, (m) => holds(m.state.flags));
};

const counterBits = (code: string): 16 | 32 | 64 => (/RCX$|Jrcxz/.test(code) ? 64 : /ECX$|Jecxz/.test(code) ? 32 : 16);

const jcxz: Translate = (insn) => {
  const bits = counterBits(insn.code);
  return conditional(insn, ({ state }) => BigInt.asUintN(bits, state.gprs[RCX] as bigint) === 0n);
};

/** @param zero the value of ZF that goes on; undefined: whatever it is. */
function loop(zero: boolean | undefined): Translate {
  return (insn) => {
    const bits = counterBits(insn.code);
    const exec = conditional(insn, ({ state }) => {
      const left = BigInt.asUintN(bits, (state.gprs[RCX] as bigint) - 1n);
      return left !== 0n && (zero === undefined || zero === ((state.flags & ZF) !== 0));
    });
    return (m) => {
      exec(m);
      const { gprs, r16 } = m.state;
      const left = (gprs[RCX] as bigint) - 1n;
      if (bits === 16) r16[4 * RCX] = Number(left & 0xffffn);
      else gprs[RCX] = BigInt.asUintN(bits, left);
    };
  };
}

export const branches: Family = {
  Jmp: jump,
  Call: call,
  Ret: ret,
  Retf: farReturn,
  Jcxz: jcxz,
  Jecxz: jcxz,
  Jrcxz: jcxz,
  Loop: loop(undefined),
  Loope: loop(true),
  Loopne: loop(false),
  ...Object.fromEntries(Object.keys(CONDITIONS).map((condition) => [`J${condition}`, jcc(condition)])),
};
