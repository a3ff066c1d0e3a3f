// Instructions that are not the engine's to answer: they leave the guest as events, before anything has changed.
import { RCX, RDX, VECTOR } from '../../cpu/bits.js';
import { GuestFault } from '../../cpu/fault.js';
import { isCanonical } from '../../cpu/paging.js';
import { signed } from '../../cpu/state.js';
import type { TrappedInstruction } from '../../engine.js';
import type { Insn } from '../decode.js';
import type { Machine } from '../machine.js';
import { Trap } from '../trap.js';
import { supervisorOnly } from './control.js';
import type { Family, Translate } from './family.js';
import { portsAllowed } from './far.js';

/** @param supervisor whether less privilege gets #GP before the event is seen: SDM volume 3, 27.1.1. */
function trapped(name: TrappedInstruction, supervisor: boolean): Translate {
  return ({ length }) =>
    (m) => {
      if (supervisor) supervisorOnly(m);
      throw new Trap({ kind: 'instruction', name, length });
    };
}

const tdcall: Translate = ({ length }) => {
  return () => {
    throw new Trap({ kind: 'tdcall', length });
  };
};

/** Bytes per access, from the form: `In_EAX_DX`, `Out_imm8_AL`, `Insw_m16_DX`. */
function ioSize({ code }: Insn): 1 | 2 | 4 {
  if (/^(Ins|Outs)/.test(code))
    return code[code.startsWith('I') ? 3 : 4] === 'b' ? 1 : /^(Ins|Outs)w/.test(code) ? 2 : 4;
  return code.includes('EAX') ? 4 : code.includes('AX') ? 2 : 1;
}

const io: Translate = (insn) => {
  const { code, length, rep, repne } = insn;
  const size = ioSize(insn);
  const string = /^(Ins|Outs)/.test(code);
  const write = code.startsWith('Out');
  const constant = insn.operands.find((operand) => operand.kind === 'immediate');
  const immediate = constant !== undefined;
  const fixed = constant?.kind === 'immediate' ? Number(constant.value & 0xffn) : 0;
  return (m) => {
    const port = immediate ? fixed : (m.state.r16[4 * RDX] as number);
    if (!portsAllowed(m, port, size)) throw new GuestFault(VECTOR.GP, 0);
    if (string && (rep || repne) && m.state.gprs[RCX] === 0n) return;
    throw new Trap({ kind: 'io', length, port, size, write, string, rep: rep || repne, immediate });
  };
};

const EFER = 0xc000_0080;
const FS_BASE = 0xc000_0100;
const GS_BASE = 0xc000_0101;
const TSC = 0x10;
const ADDRESSES = new Set([0x175, 0x176, 0xc000_0082, 0xc000_0083, 0xc000_0102]);
/**
 * MSRs that are nothing but state of this processor, which a TDX module lets its guest use freely: SYSENTER's, PAT, STAR,
 * LSTAR, CSTAR, FMASK, KERNEL_GS_BASE, TSC_AUX. FS_BASE, GS_BASE, TSC and EFER (to read) are answered here too.
 */
const OWN_MSRS = new Set([0x174, 0x277, 0xc000_0081, 0xc000_0084, 0xc000_0103, ...ADDRESSES]);

function readMsr(m: Machine, index: number): bigint | undefined {
  const { state } = m;
  if (index === EFER) return BigInt(state.efer);
  if (index === FS_BASE) return BigInt.asUintN(64, BigInt(state.fs.base));
  if (index === GS_BASE) return BigInt.asUintN(64, BigInt(state.gs.base));
  if (index === TSC) return state.tsc();
  return OWN_MSRS.has(index) ? (state.msrs.get(index) ?? 0n) : undefined;
}

/** Memory types: 0, 1, 4 to 7. */
const validPat = (value: bigint): boolean =>
  Array.from({ length: 8 }, (_, n) => Number((value >> BigInt(8 * n)) & 0xffn)).every(
    (type) => type < 8 && type !== 2 && type !== 3,
  );

const rdmsr: Translate = ({ length }) => {
  return (m) => {
    supervisorOnly(m);
    const { gprs, r32 } = m.state;
    const value = readMsr(m, (r32[2 * RCX] as number) >>> 0);
    if (value === undefined) throw new Trap({ kind: 'instruction', name: 'rdmsr', length });
    gprs[0] = value & 0xffff_ffffn;
    gprs[RDX] = value >> 32n;
  };
};

const wrmsr: Translate = ({ length }) => {
  return (m) => {
    supervisorOnly(m);
    const { state } = m;
    const index = (state.r32[2 * RCX] as number) >>> 0;
    const value = BigInt.asUintN(32, state.gprs[0] as bigint) | (BigInt.asUintN(32, state.gprs[RDX] as bigint) << 32n);
    const base = index === FS_BASE || index === GS_BASE;
    if (!base && !OWN_MSRS.has(index)) throw new Trap({ kind: 'instruction', name: 'wrmsr', length });
    const bad = (base || ADDRESSES.has(index)) && !isCanonical(signed(value));
    if (bad || (index === 0x277 && !validPat(value))) throw new GuestFault(VECTOR.GP, 0);
    if (base) state[index === FS_BASE ? 'fs' : 'gs'].base = signed(value);
    else state.msrs.set(index, value);
  };
};

export const events: Family = {
  Tdcall: tdcall,
  Cpuid: trapped('cpuid', false),
  Hlt: trapped('hlt', true),
  Rdmsr: rdmsr,
  Wrmsr: wrmsr,
  Xsetbv: trapped('xsetbv', true),
  Invd: trapped('invd', true),
  Wbinvd: trapped('wbinvd', true),
  Wbnoinvd: trapped('wbinvd', true),
  Monitor: trapped('monitor', true),
  Mwait: trapped('mwait', true),
  Rdpmc: trapped('rdpmc', false),
  Vmcall: trapped('vmcall', false),
  ...Object.fromEntries('In Out Insb Insw Insd Outsb Outsw Outsd'.split(' ').map((name) => [name, io])),
};
