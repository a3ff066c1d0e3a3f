// The x87 unit as far as programs that compute nothing with it need it: initial state, control words, saving and restoring.
import { CR0_EM, CR0_TS, CR4_OSFXSR, CR4_OSXSAVE, VECTOR } from '../../cpu/bits.js';
import { GuestFault, Stuck } from '../../cpu/fault.js';
import type { Exec } from '../code-cache.js';
import type { Insn } from '../decode.js';
import type { Machine } from '../machine.js';
import { type Address, addressOf, placeOf } from '../places.js';
import type { Family, Translate } from './family.js';

// Offsets in the FXSAVE image.
const FCW = 0;
const FSW = 2;
const FTW = 4;
export const MXCSR = 24;
const MXCSR_MASK = 28;
const REGISTERS_END = 416;

const MXCSR_BITS = 0xffff;
/** XSAVE: bits of the state components that this processor has. */
const X87_SSE = 3n;

/** @throws GuestFault #NM where the unit is switched off. */
function available(m: Machine): void {
  if ((m.state.cr0 & (CR0_EM | CR0_TS)) !== 0) throw new GuestFault(VECTOR.NM);
}

/** FXSAVE and XSAVE: EM does not matter to #NM here, TS does. */
function notSwitched(m: Machine): void {
  if ((m.state.cr0 & CR0_TS) !== 0) throw new GuestFault(VECTOR.NM);
}

export function sseAvailable(m: Machine): void {
  const { cr0, cr4 } = m.state;
  if ((cr0 & CR0_EM) !== 0 || (cr4 & CR4_OSFXSR) === 0) throw new GuestFault(VECTOR.UD);
  if ((cr0 & CR0_TS) !== 0) throw new GuestFault(VECTOR.NM);
}

const withUnit =
  (exec: Exec): Translate =>
  () =>
  (m) => {
    available(m);
    exec(m);
  };

const init = withUnit(({ state: { fxView } }) => {
  fxView.setUint16(FCW, 0x37f, true);
  fxView.setUint16(FSW, 0, true);
  fxView.setUint8(FTW, 0);
});

function controlWord(load: boolean): Translate {
  return (insn) => {
    const place = placeOf(insn, insn.operands[0], 16);
    return (m) => {
      available(m);
      const { fxView } = m.state;
      if (load) fxView.setUint16(FCW, (place.read(m) & 0x1f7f) | 0x40, true);
      else place.write(m, fxView.getUint16(FCW, true));
    };
  };
}

const statusWord: Translate = (insn) => {
  const place = placeOf(insn, insn.operands[0], 16);
  return (m) => {
    available(m);
    place.write(m, m.state.fxView.getUint16(FSW, true));
  };
};

function imageAddress(insn: Insn, size: number): Address {
  const [operand] = insn.operands;
  if (operand?.kind !== 'memory') throw new Stuck('an image in a register');
  return addressOf(insn, operand, size);
}

function aligned(linear: number, to: number): number {
  if (linear % to !== 0) throw new GuestFault(VECTOR.GP, 0);
  return linear;
}

function checkMxcsr(value: number): number {
  if ((value & ~MXCSR_BITS) !== 0) throw new GuestFault(VECTOR.GP, 0);
  return value;
}

/** Bytes 416 to 511 are the program's; the mask says which bits of MXCSR there are. */
const fxsave: Translate = (insn) => {
  const address = imageAddress(insn, 512);
  return (m) => {
    notSwitched(m);
    const image = m.state.fx.slice(0, REGISTERS_END);
    new DataView(image.buffer).setUint32(MXCSR_MASK, MXCSR_BITS, true);
    m.writeBytes(aligned(address(m, true), 16), image);
  };
};

const fxrstor: Translate = (insn) => {
  const address = imageAddress(insn, 512);
  return (m) => {
    notSwitched(m);
    const image = m.readBytes(aligned(address(m, false), 16), 512);
    checkMxcsr(new DataView(image.buffer).getUint32(MXCSR, true));
    m.state.fx.set(image.subarray(0, REGISTERS_END));
  };
};

function mxcsr(load: boolean): Translate {
  return (insn) => {
    const place = placeOf(insn, insn.operands[0], 32);
    return (m) => {
      sseAvailable(m);
      const { fxView } = m.state;
      if (load) fxView.setUint32(MXCSR, checkMxcsr(place.read(m)), true);
      else place.write(m, fxView.getInt32(MXCSR, true));
    };
  };
}

/** The components that an XSAVE or XRSTOR is about: EDX:EAX and XCR0. @throws Stuck beyond x87 and SSE. */
function components(m: Machine): bigint {
  const { state } = m;
  if ((state.cr4 & CR4_OSXSAVE) === 0) throw new GuestFault(VECTOR.UD);
  notSwitched(m);
  const low = BigInt.asUintN(32, state.gprs[0] as bigint);
  const asked = (low | (BigInt.asUintN(32, state.gprs[2] as bigint) << 32n)) & state.xcr0;
  if ((asked & ~X87_SSE) !== 0n) throw new Stuck(`state components beyond x87 and SSE (0x${asked.toString(16)})`);
  return asked;
}

/** The standard format: legacy area, then a header of 64 bytes whose first eight say what is there. */
const xsave: Translate = (insn) => {
  const address = imageAddress(insn, 576);
  return (m) => {
    const asked = components(m);
    const linear = aligned(address(m, true), 64);
    const image = m.readBytes(linear, 576);
    const { fx } = m.state;
    if ((asked & 1n) !== 0n) {
      image.set(fx.subarray(0, MXCSR), 0);
      image.set(fx.subarray(32, 160), 32);
    }
    if ((asked & 2n) !== 0n) image.set(fx.subarray(160, REGISTERS_END), 160);
    const view = new DataView(image.buffer);
    view.setUint32(MXCSR, m.state.fxView.getUint32(MXCSR, true), true);
    view.setUint32(MXCSR_MASK, MXCSR_BITS, true);
    view.setBigUint64(512, (view.getBigUint64(512, true) & ~asked) | asked, true);
    m.writeBytes(linear, image);
  };
};

const xrstor: Translate = (insn) => {
  const address = imageAddress(insn, 576);
  return (m) => {
    const asked = components(m);
    const image = m.readBytes(aligned(address(m, false), 64), 576);
    const view = new DataView(image.buffer);
    const present = view.getBigUint64(512, true);
    if ((present & ~m.state.xcr0) !== 0n || view.getBigUint64(520, true) !== 0n) throw new GuestFault(VECTOR.GP, 0);
    const { fx, fxView } = m.state;
    if ((asked & 1n) !== 0n) {
      fx.fill(0, 0, MXCSR).fill(0, 32, 160);
      if ((present & 1n) !== 0n) fx.set(image.subarray(0, MXCSR), 0);
      else fxView.setUint16(FCW, 0x37f, true);
      if ((present & 1n) !== 0n) fx.set(image.subarray(32, 160), 32);
    }
    if ((asked & 2n) !== 0n) {
      fxView.setUint32(MXCSR, checkMxcsr(view.getUint32(MXCSR, true)), true);
      if ((present & 2n) !== 0n) fx.set(image.subarray(160, REGISTERS_END), 160);
      else fx.fill(0, 160, REGISTERS_END);
    }
  };
};

const xgetbv: Translate = () => (m) => {
  const { state } = m;
  if ((state.cr4 & CR4_OSXSAVE) === 0) throw new GuestFault(VECTOR.UD);
  const which = BigInt.asUintN(32, state.gprs[1] as bigint);
  if (which > 1n) throw new GuestFault(VECTOR.GP, 0);
  const value = which === 0n ? state.xcr0 : state.xcr0 & X87_SSE;
  state.gprs[0] = value & 0xffff_ffffn;
  state.gprs[2] = value >> 32n;
};

export const fpu: Family = {
  Fninit: init,
  Fnclex: withUnit(({ state: { fxView } }) => fxView.setUint16(FSW, fxView.getUint16(FSW, true) & 0x7f00, true)),
  Fnop: withUnit(() => {}),
  Wait: withUnit(() => {}),
  Fldcw: controlWord(true),
  Fnstcw: controlWord(false),
  Fnstsw: statusWord,
  Ldmxcsr: mxcsr(true),
  Stmxcsr: mxcsr(false),
  Fxsave: fxsave,
  Fxsave64: fxsave,
  Fxrstor: fxrstor,
  Fxrstor64: fxrstor,
  Xsave: xsave,
  Xsave64: xsave,
  Xsaveopt: xsave,
  Xsaveopt64: xsave,
  Xrstor: xrstor,
  Xrstor64: xrstor,
  Xgetbv: xgetbv,
};
