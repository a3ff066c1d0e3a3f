// Control and debug registers, descriptor table registers, TR and LDTR, and what else only the supervisor may do.

import { CONTROL_REGISTER_RULES, type Rule } from '../../../../rulebook/index.js';
import {
  CR0_CD,
  CR0_NE,
  CR0_NW,
  CR0_PE,
  CR0_PG,
  CR0_TS,
  CR0_WP,
  CR4_CET,
  CR4_LA57,
  CR4_MCE,
  CR4_PAE,
  CR4_PCIDE,
  CR4_SMXE,
  CR4_VMXE,
  EFER_LMA,
  EFER_LME,
  VECTOR,
} from '../../cpu/bits.js';
import { isNull, markBusy, readDescriptor, selectorError } from '../../cpu/descriptors.js';
import { GuestFault, Stuck } from '../../cpu/fault.js';
import { isCanonical } from '../../cpu/paging.js';
import { type CpuState, signed } from '../../cpu/state.js';
import { bigPlaceOf } from '../big.js';
import type { Exec } from '../code-cache.js';
import type { Insn } from '../decode.js';
import type { Machine } from '../machine.js';
import { addressOf, placeOf } from '../places.js';
import type { Family, Translate } from './family.js';

/** @throws GuestFault #GP(0) above CPL 0. */
export function supervisorOnly(m: Machine): void {
  if (m.state.cpl !== 0) throw new GuestFault(VECTOR.GP, 0);
}

const refuse = (): never => {
  throw new GuestFault(VECTOR.GP, 0);
};

/** Bits of CR0 that exist, and those of CR4 that this processor knows. */
const CR0_BITS = 0xe005_003f;
const CR4_BITS = 0x00ff_ffff & ~0x8000;

/** What a TDX module makes of a value: #GP, or a #VE that this processor cannot raise, which ends the run. */
function obey(rule: Rule): never {
  if (rule.exception === VECTOR.GP) return refuse();
  throw new Stuck(`a write that TDX answers with #VE (${rule.what})`);
}

function writeCr0(m: Machine, value: bigint): void {
  const { state } = m;
  const next = Number(value & 0xffff_ffffn);
  const set = (bits: number): boolean => (next & bits) !== 0;
  if (!set(CR0_NE)) obey(CONTROL_REGISTER_RULES['module.cr0.ne']);
  if (value >> 32n !== 0n || (set(CR0_PG) && !set(CR0_PE)) || (set(CR0_NW) && !set(CR0_CD))) refuse();
  if ((state.cr4 & CR4_CET) !== 0 && !set(CR0_WP)) refuse();
  if (!set(CR0_PE)) obey(CONTROL_REGISTER_RULES['module.cr0.pe']);
  if (set(CR0_CD)) obey(CONTROL_REGISTER_RULES['module.cr0.cd']);
  const turnsOn = set(CR0_PG) && (state.cr0 & CR0_PG) === 0;
  const turnsOff = !set(CR0_PG) && (state.cr0 & CR0_PG) !== 0;
  if (turnsOn) {
    if ((state.efer & EFER_LME) === 0) throw new Stuck('paging without EFER.LME');
    if ((state.cr4 & CR4_PAE) === 0 || state.cs.long) refuse();
    state.efer |= EFER_LMA;
  } else if (turnsOff) {
    if (state.in64 || (state.cr4 & CR4_PCIDE) !== 0) refuse();
    state.efer &= ~EFER_LMA;
  }
  state.cr0 = ((next & CR0_BITS) | 0x10) >>> 0; // ET
  m.flush();
}

function writeCr4(m: Machine, value: bigint): void {
  const { state } = m;
  const next = Number(value & 0xffff_ffffn);
  const set = (bits: number): boolean => (next & bits) !== 0;
  if (value >> 32n !== 0n || (next & ~CR4_BITS) !== 0) refuse();
  if (set(CR4_SMXE)) obey(CONTROL_REGISTER_RULES['module.cr4.smxe']);
  if (state.longActive && !set(CR4_PAE)) refuse();
  if (set(CR4_PCIDE) && !state.longActive) refuse();
  if (set(CR4_CET)) throw new Stuck('CR4.CET');
  if (set(CR4_LA57)) throw new Stuck('five-level paging (CR4.LA57)');
  if (!set(CR4_MCE) && (state.cr4 & CR4_MCE) !== 0) obey(CONTROL_REGISTER_RULES['module.cr4.mce']);
  if (set(CR4_VMXE)) obey(CONTROL_REGISTER_RULES['module.cr4.vmxe']);
  state.cr4 = next;
  m.flush();
}

function writeCr3(m: Machine, value: bigint): void {
  const { state } = m;
  // Bit 63 asks to keep what is cached of this address space.
  const wanted = (state.cr4 & CR4_PCIDE) !== 0 ? BigInt.asUintN(63, value) : value;
  if (wanted >> 52n !== 0n) refuse();
  state.cr3 = Number(wanted);
  m.flush();
}

const CONTROL: Readonly<Record<number, { read(state: CpuState): bigint; write(m: Machine, value: bigint): void }>> = {
  0: { read: (state) => BigInt(state.cr0 >>> 0), write: writeCr0 },
  2: {
    read: (state) => state.cr2,
    write: (m, value) => {
      m.state.cr2 = value;
    },
  },
  3: { read: (state) => BigInt(state.cr3), write: writeCr3 },
  4: { read: (state) => BigInt(state.cr4 >>> 0), write: writeCr4 },
  8: {
    read: (state) => BigInt(state.cr8),
    write: (m, value) => {
      if (value > 15n) refuse();
      m.state.cr8 = Number(value);
    },
  },
};

function debugRegister(insn: Insn, number: number, write: boolean): Exec {
  const bits = insn.bits === 64 ? 64 : 32;
  const place = bigPlaceOf(insn, insn.operands[write ? 1 : 0], bits);
  return (m) => {
    supervisorOnly(m);
    const { dr } = m.state;
    const actual = number === 4 || number === 5 ? number + 2 : number;
    if (!write) return place.write(m, dr[actual] as bigint);
    const value = place.read(m);
    if (actual >= 6 && value >> 32n !== 0n) refuse();
    if (actual === 7 && (value & 0xffn) !== 0n) throw new Stuck('breakpoints (DR7)');
    dr[actual] = actual === 7 ? value | 0x400n : value;
  };
}

/** MOV to and from CR and DR. */
export function movControl(insn: Insn): Exec {
  const [to, from] = insn.operands;
  const write = to?.kind === 'reg' && to.file !== 'gpr';
  const special = write ? to : from;
  if (special?.kind !== 'reg') throw new Stuck('MOV of this form');
  if (special.file === 'dr') return debugRegister(insn, special.number, write);
  const register = special.file === 'cr' ? CONTROL[special.number] : undefined;
  const place = bigPlaceOf(insn, write ? from : to, insn.bits === 64 ? 64 : 32);
  return (m) => {
    if (register === undefined) throw new GuestFault(VECTOR.UD);
    supervisorOnly(m);
    if (write) register.write(m, place.read(m));
    else place.write(m, register.read(m.state));
  };
}

function loadTable(name: 'gdtr' | 'idtr'): Translate {
  return (insn) => {
    const [operand] = insn.operands;
    if (operand?.kind !== 'memory') throw new Stuck('a table in a register');
    const size = insn.bits === 64 ? 10 : 6;
    const mask = insn.code.endsWith('_16') ? 0xff_ffff : 0xffff_ffff;
    const address = addressOf(insn, operand, size);
    return (m) => {
      supervisorOnly(m);
      const view = new DataView(m.readBytes(address(m, false), size).buffer);
      const base = size === 10 ? signed(view.getBigUint64(2, true)) : (view.getUint32(2, true) & mask) >>> 0;
      if (!isCanonical(base)) refuse();
      m.state[name].limit = view.getUint16(0, true);
      m.state[name].base = base;
    };
  };
}

function storeTable(name: 'gdtr' | 'idtr'): Translate {
  return (insn) => {
    const [operand] = insn.operands;
    if (operand?.kind !== 'memory') throw new Stuck('a table in a register');
    const size = insn.bits === 64 ? 10 : 6;
    const address = addressOf(insn, operand, size);
    return (m) => {
      const bytes = new Uint8Array(10);
      const view = new DataView(bytes.buffer);
      view.setUint16(0, m.state[name].limit, true);
      view.setBigInt64(2, BigInt(m.state[name].base), true);
      m.writeBytes(address(m, true), bytes.subarray(0, size));
    };
  };
}

const AVAILABLE_TSS = 9;
const LDT = 2;

const loadTaskRegister: Translate = (insn) => {
  const place = placeOf(insn, insn.operands[0], 16);
  return (m) => {
    supervisorOnly(m);
    const { state, memory } = m;
    const selector = place.read(m);
    if (isNull(selector)) refuse();
    const error = selectorError(selector);
    if ((selector & 4) !== 0) throw new GuestFault(VECTOR.GP, error);
    const descriptor = readDescriptor(state, memory, selector, true);
    if (descriptor.codeOrData || descriptor.type !== AVAILABLE_TSS) throw new GuestFault(VECTOR.GP, error);
    if (!descriptor.present) throw new GuestFault(VECTOR.NP, error);
    markBusy(state, memory, descriptor);
    state.tr.set(selector, descriptor.base, descriptor.limit, descriptor.access);
  };
};

const loadLdt: Translate = (insn) => {
  const place = placeOf(insn, insn.operands[0], 16);
  return (m) => {
    supervisorOnly(m);
    const { state, memory } = m;
    const selector = place.read(m);
    if (isNull(selector)) return state.ldtr.setNull(selector);
    const error = selectorError(selector);
    if ((selector & 4) !== 0) throw new GuestFault(VECTOR.GP, error);
    const descriptor = readDescriptor(state, memory, selector, true);
    if (descriptor.codeOrData || descriptor.type !== LDT) throw new GuestFault(VECTOR.GP, error);
    if (!descriptor.present) throw new GuestFault(VECTOR.NP, error);
    state.ldtr.set(selector, descriptor.base, descriptor.limit, descriptor.access);
  };
};

function storeWord(read: (state: CpuState) => number): Translate {
  return (insn) => {
    const [operand] = insn.operands;
    const bits = operand?.kind === 'reg' ? operand.bits : 16;
    const place = bigPlaceOf(insn, operand, bits);
    return (m) => place.write(m, BigInt(read(m.state) >>> 0));
  };
}

/** LMSW: PE, MP, EM and TS only, and PE is only ever set. */
const loadStatusWord: Translate = (insn) => {
  const place = placeOf(insn, insn.operands[0], 16);
  return (m) => {
    supervisorOnly(m);
    m.state.cr0 = ((m.state.cr0 & ~0xe) | (place.read(m) & 0xf)) >>> 0;
  };
};

const privileged =
  (exec: Exec): Translate =>
  () =>
  (m) => {
    supervisorOnly(m);
    exec(m);
  };
/** Flushing more than was asked for is always right. */
const flush = privileged((m) => m.flush());

export const controlRegisters: Family = {
  Lgdt: loadTable('gdtr'),
  Lidt: loadTable('idtr'),
  Sgdt: storeTable('gdtr'),
  Sidt: storeTable('idtr'),
  Ltr: loadTaskRegister,
  Lldt: loadLdt,
  Str: storeWord((state) => state.tr.selector),
  Sldt: storeWord((state) => state.ldtr.selector),
  Smsw: storeWord((state) => state.cr0),
  Lmsw: loadStatusWord,
  Clts: privileged((m) => {
    m.state.cr0 = (m.state.cr0 & ~CR0_TS) >>> 0;
  }),
  Invlpg: flush,
  Invpcid: flush,
};
