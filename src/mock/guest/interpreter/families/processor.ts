// Single flags, no-operations, time, random numbers, SWAPGS, software interrupts, and undefined instructions.
import { randomFillSync } from 'node:crypto';
import {
  AC,
  AF,
  CF,
  CR4_SMAP,
  DF,
  IF,
  IOPL,
  OF,
  PF,
  RAX,
  RCX,
  RDX,
  SF,
  STATUS_FLAGS,
  VECTOR,
  ZF,
} from '../../cpu/bits.js';
import { raise, type SoftwareInterrupt } from '../../cpu/exceptions.js';
import { GuestFault } from '../../cpu/fault.js';
import { signed } from '../../cpu/state.js';
import { bigPlaceOf } from '../big.js';
import type { Exec } from '../code-cache.js';
import { setStatus } from '../flags.js';
import type { Machine } from '../machine.js';
import { gprPlace, gprPlace64 } from '../places.js';
import { widthOf } from './arithmetic.js';
import { supervisorOnly } from './control.js';
import type { Family, Translate } from './family.js';
import { interruptReturn, systemCall, systemReturn } from './far.js';

const KERNEL_GS_BASE = 0xc000_0102;
const TSC_AUX = 0xc000_0103;
const CR4_TSD = 4;

const always =
  (exec: Exec): Translate =>
  () =>
    exec;
const nothing = always(() => {});
const changeFlags = (change: (flags: number) => number): Translate =>
  always(({ state }) => {
    state.flags = change(state.flags) >>> 0;
  });

function setInterrupts(enabled: boolean): Translate {
  return always(({ state, next }) => {
    if (state.cpl > (state.flags & IOPL) >> 12) throw new GuestFault(VECTOR.GP, 0);
    if (enabled && (state.flags & IF) === 0) state.shadowIp = next;
    state.flags = enabled ? state.flags | IF : state.flags & ~IF;
  });
}

function setAlignment(on: boolean): Translate {
  return always((m) => {
    const { state } = m;
    if (state.cpl !== 0 || (state.cr4 & CR4_SMAP) === 0) throw new GuestFault(VECTOR.UD);
    state.flags = on ? state.flags | AC : state.flags & ~AC;
    m.flush();
  });
}

function timeStamp(m: Machine): void {
  if ((m.state.cr4 & CR4_TSD) !== 0) supervisorOnly(m);
  const now = m.state.tsc();
  m.state.gprs[RAX] = now & 0xffff_ffffn;
  m.state.gprs[RDX] = now >> 32n;
}

/** RDRAND, RDSEED: the random numbers of this machine's library, never short of them (CF 1). */
const random: Translate = (insn) => {
  const bits = widthOf(insn);
  const place = bigPlaceOf(insn, insn.operands[0], bits);
  const fresh = new BigUint64Array(1);
  return (m) => {
    randomFillSync(fresh);
    place.write(m, BigInt.asUintN(bits, fresh[0] as bigint));
    setStatus(m, CF);
  };
};

const swapGs = always((m) => {
  const { state } = m;
  if (!state.in64) throw new GuestFault(VECTOR.UD);
  supervisorOnly(m);
  const base = BigInt(state.gs.base);
  state.gs.base = signed(state.msrs.get(KERNEL_GS_BASE) ?? 0n);
  state.msrs.set(KERNEL_GS_BASE, BigInt.asUintN(64, base));
});

/** Into the guest's handler at once: what goes wrong on the way replaces this instruction. */
function interrupt(m: Machine, vector: number, software: SoftwareInterrupt): void {
  raise(m.state, m.memory, new GuestFault(vector), software);
  m.next = m.state.ip;
  m.flush();
}

const softwareInterrupt = (vector: number, privileged = false): Translate =>
  always((m) => interrupt(m, vector, { nextIp: m.next, privileged }));

const intN: Translate = ({ operands: [operand] }) => {
  const vector = operand?.kind === 'immediate' ? Number(operand.value & 0xffn) : 0;
  return (m) => interrupt(m, vector, { nextIp: m.next });
};

const into: Translate = always((m) => {
  if ((m.state.flags & OF) !== 0) interrupt(m, VECTOR.OF, { nextIp: m.next });
});

const undefinedInstruction = always(() => {
  throw new GuestFault(VECTOR.UD);
});

const LAHF_FLAGS = SF | ZF | AF | PF | CF;

const readProcessorId: Translate = ({ operands: [operand] }) => {
  const place = gprPlace64(operand?.kind === 'reg' ? operand.number : 0);
  return (m) => place.store(m, Number((m.state.msrs.get(TSC_AUX) ?? 0n) & 0xffff_ffffn) | 0, 0);
};

const names = (list: string, translate: Translate): Family =>
  Object.fromEntries(list.split(' ').map((name) => [name, translate]));

export const processor: Family = {
  ...names('Nop Reservednop Endbr32 Endbr64 Pause Mfence Lfence Sfence', nothing),
  ...names('Prefetchw Prefetchwt1 Prefetch Prefetchnta Prefetcht0 Prefetcht1 Prefetcht2', nothing),
  ...names('Clflush Clflushopt Clwb Cldemote Serialize', nothing),
  ...names('Ud0 Ud1 Ud2', undefinedInstruction),
  ...names('Rdrand Rdseed', random),
  Clc: changeFlags((flags) => flags & ~CF),
  Stc: changeFlags((flags) => flags | CF),
  Cmc: changeFlags((flags) => flags ^ CF),
  Cld: changeFlags((flags) => flags & ~DF),
  Std: changeFlags((flags) => flags | DF),
  Cli: setInterrupts(false),
  Sti: setInterrupts(true),
  Clac: setAlignment(false),
  Stac: setAlignment(true),
  Lahf: always(({ state }) => {
    state.r8[8 * RAX + 1] = (state.flags & LAHF_FLAGS) | 2;
  }),
  Sahf: always(({ state }) => {
    const ah = state.r8[8 * RAX + 1] as number;
    state.flags = (state.flags & ~(STATUS_FLAGS & ~OF)) | (ah & LAHF_FLAGS);
  }),
  Rdtsc: always(timeStamp),
  Rdtscp: always((m) => {
    timeStamp(m);
    gprPlace(RCX, 32).write(m, Number((m.state.msrs.get(TSC_AUX) ?? 0n) & 0xffff_ffffn) | 0);
  }),
  Rdpid: readProcessorId,
  Swapgs: swapGs,
  Int: intN,
  Int3: softwareInterrupt(VECTOR.BP),
  Int1: softwareInterrupt(VECTOR.DB, true),
  Into: into,
  Iretd: interruptReturn,
  Iretq: interruptReturn,
  Syscall: systemCall,
  Sysret: systemReturn,
  Sysretq: systemReturn,
};
