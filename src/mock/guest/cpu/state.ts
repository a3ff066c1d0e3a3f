import { INITIAL_STATE } from '../initial-state.js';
import { CR0_PE, CR4_MCE, EFER_LMA, IF, RSP } from './bits.js';
import { Segment } from './segment.js';

const TWO_32 = 0x1_0000_0000;

/** A 64-bit value of the guest as a signed number: exact for canonical addresses, which lie within 2^47 of 0. */
export const signed = (value: bigint): number => Number(BigInt.asIntN(64, value));
export const unsigned = (value: number): bigint => BigInt.asUintN(64, BigInt(value));

/** Base and limit of GDTR or IDTR. */
export interface TableRegister {
  /** Linear, signed. */
  base: number;
  limit: number;
}

/**
 * The registers of one processor. Linear addresses (`ip`, segment bases) are signed numbers: the upper half of the
 * canonical space is negative. What is 32 bits wide in long mode too is a number, the rest a bigint or an array of them.
 */
export class CpuState {
  /** RAX RCX RDX RBX RSP RBP RSI RDI R8 ... R15, and views of the same bytes. */
  readonly gprs: BigUint64Array;
  /** Low half of register n at 2n, high half at 2n + 1. */
  readonly r32: Int32Array;
  /** Low word of register n at 4n. */
  readonly r16: Uint16Array;
  /** Low byte of register n at 8n; AH, CH, DH, BH at 8n + 1. */
  readonly r8: Uint8Array;
  ip: number = signed(INITIAL_STATE.rip);
  flags: number = Number(INITIAL_STATE.rflags);

  readonly es: Segment = Segment.data();
  readonly cs: Segment = Segment.code32();
  readonly ss: Segment = Segment.data();
  readonly ds: Segment = Segment.data();
  readonly fs: Segment = Segment.data();
  readonly gs: Segment = Segment.data();
  readonly ldtr: Segment = Segment.ldt();
  readonly tr: Segment = Segment.tss();
  readonly gdtr: TableRegister = { base: 0, limit: INITIAL_STATE.gdtrLimit };
  readonly idtr: TableRegister = { base: 0, limit: INITIAL_STATE.idtrLimit };

  cr0: number = Number(INITIAL_STATE.cr0);
  cr2: bigint = 0n;
  /** Bits 63:52 are never set. */
  cr3: number = 0;
  cr4: number = Number(INITIAL_STATE.cr4);
  cr8: number = 0;
  efer: number = Number(INITIAL_STATE.efer);
  xcr0: bigint = INITIAL_STATE.xcr0;
  /**
   * Address of the instruction in front of which STI, or a load of SS, holds interrupts back; NaN for none. Whoever cares for
   * interrupts forgets it with every instruction.
   */
  shadowIp: number = Number.NaN;
  /** The time-stamp counter; a tick a nanosecond of this machine's monotonic clock, if nobody says otherwise. */
  tsc: () => bigint = () => process.hrtime.bigint();
  /** DR0 to DR7; breakpoints are kept and never hit. */
  readonly dr: BigUint64Array = BigUint64Array.of(0n, 0n, 0n, 0n, 0n, 0n, 0xffff_0ff0n, 0x400n);
  /** MSRs that are nothing but processor state, by index: see `OWN_MSRS`. EFER and the FS and GS bases are not here. */
  readonly msrs: Map<number, bigint> = new Map([[0x277, INITIAL_STATE.pat]]);
  /** The FXSAVE image: control words at 0, MXCSR at 24, x87 registers at 32, XMM registers at 160. */
  readonly fx: Uint8Array;
  readonly fxView: DataView;

  constructor() {
    this.gprs = new BigUint64Array(16);
    this.r32 = new Int32Array(this.gprs.buffer);
    this.r16 = new Uint16Array(this.gprs.buffer);
    this.r8 = new Uint8Array(this.gprs.buffer);
    this.fx = new Uint8Array(512);
    this.fxView = new DataView(this.fx.buffer);
    this.fxView.setUint16(0, 0x37f, true);
    this.fxView.setUint32(24, 0x1f80, true);
  }

  get rip(): bigint {
    return unsigned(this.ip);
  }

  set rip(value: bigint) {
    this.ip = signed(value);
  }

  get rflags(): bigint {
    return BigInt(this.flags >>> 0);
  }

  set rflags(value: bigint) {
    this.flags = (Number(value & 0x3f_7fd5n) | 2) >>> 0;
  }

  /** Register `n` as a signed number; exact below 2^53. */
  signedGpr(n: number): number {
    return (this.r32[2 * n + 1] as number) * TWO_32 + ((this.r32[2 * n] as number) >>> 0);
  }

  /** @param value signed, below 2^53. */
  setSignedGpr(n: number, value: number): void {
    this.r32[2 * n] = value;
    this.r32[2 * n + 1] = Math.floor(value / TWO_32);
  }

  /** An external interrupt can be delivered between the last instruction and the next one. */
  get interruptible(): boolean {
    return (this.flags & IF) !== 0 && this.shadowIp !== this.ip;
  }

  get cpl(): number {
    return this.ss.dpl;
  }

  get longActive(): boolean {
    return (this.efer & EFER_LMA) !== 0;
  }

  /** EFER.LMA and CS.L. */
  get in64(): boolean {
    return (this.efer & EFER_LMA) !== 0 && this.cs.long;
  }

  /** Bits of an address of the stack: 64, 32 or 16. */
  get stackBits(): number {
    return this.in64 ? 64 : this.ss.big ? 32 : 16;
  }

  get stackPointer(): number {
    const bits = this.stackBits;
    if (bits === 64) return this.signedGpr(RSP);
    return bits === 32 ? (this.r32[2 * RSP] as number) >>> 0 : (this.r16[4 * RSP] as number);
  }

  /** @param value as {@link stackPointer} gives it; wraps to the stack's width, upper bits are left where it is 16. */
  set stackPointer(value: number) {
    const bits = this.stackBits;
    if (bits === 64) this.setSignedGpr(RSP, value);
    else if (bits === 32) this.gprs[RSP] = BigInt(value >>> 0);
    else this.r16[4 * RSP] = value;
  }

  get protectedMode(): boolean {
    return (this.cr0 & CR0_PE) !== 0;
  }
}

/** A TD's vCPU before its first instruction, but for the general registers. */
export function initialState(): CpuState {
  const state = new CpuState();
  if ((state.cr4 & CR4_MCE) === 0) throw new Error('a TD starts with CR4.MCE set');
  return state;
}
