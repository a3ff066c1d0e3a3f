import { GPRS } from '../../../kvm/gprs.js';
import type { KvmDtable, KvmRegs, KvmSegment, KvmSregs } from '../../../kvm/vcpu.js';
import type { Segment } from './segment.js';
import { CpuState, signed, type TableRegister, unsigned } from './state.js';

const SEGMENTS = [
  ...([
    ['es', 'es'],
    ['cs', 'cs'],
    ['ss', 'ss'],
    ['ds', 'ds'],
    ['fs', 'fs'],
    ['gs', 'gs'],
    ['tr', 'tr'],
    ['ldtr', 'ldt'],
  ] as const),
];

function takeSegment(to: Segment, from: KvmSegment): void {
  const { type, s, dpl, present, avl, l, db, g } = from;
  to.set(
    from.selector,
    signed(from.base),
    from.limit,
    type | (s << 4) | (dpl << 5) | (present << 7) | (avl << 12) | (l << 13) | (db << 14) | (g << 15),
  );
  to.unusable = from.unusable !== 0;
}

const bit = (value: number, at: number): number => (value >> at) & 1;

function giveSegment({ selector, base, limit, access, unusable }: Segment): KvmSegment {
  return {
    base: unsigned(base),
    limit,
    selector,
    type: access & 15,
    present: unusable ? 0 : bit(access, 7),
    dpl: (access >> 5) & 3,
    db: bit(access, 14),
    s: bit(access, 4),
    l: bit(access, 13),
    g: bit(access, 15),
    avl: bit(access, 12),
    unusable: unusable ? 1 : 0,
  };
}

function takeTable(to: TableRegister, from: KvmDtable): void {
  to.base = signed(from.base);
  to.limit = from.limit;
}

/** Registers of a vCPU of KVM. @param fpu its FXSAVE image, the first 512 bytes of KVM_GET_XSAVE; kept if left out. */
export function takeKvmState(
  state: CpuState,
  regs: KvmRegs,
  sregs: KvmSregs,
  { fpu, xcr0 }: { fpu?: Uint8Array; xcr0?: bigint } = {},
): void {
  for (const [n, name] of GPRS.entries()) state.gprs[n] = regs[name];
  state.rip = regs.rip;
  state.rflags = regs.rflags;
  for (const [ours, theirs] of SEGMENTS) takeSegment(state[ours], sregs[theirs]);
  takeTable(state.gdtr, sregs.gdt);
  takeTable(state.idtr, sregs.idt);
  state.cr0 = Number(sregs.cr0);
  state.cr2 = sregs.cr2;
  state.cr3 = Number(sregs.cr3);
  state.cr4 = Number(sregs.cr4);
  state.cr8 = Number(sregs.cr8);
  state.efer = Number(sregs.efer);
  if (fpu !== undefined) state.fx.set(fpu.subarray(0, state.fx.length));
  if (xcr0 !== undefined) state.xcr0 = xcr0;
}

/** @param fpu as for {@link takeKvmState}. */
export function stateOfKvm(regs: KvmRegs, sregs: KvmSregs, more: { fpu?: Uint8Array; xcr0?: bigint } = {}): CpuState {
  const state = new CpuState();
  takeKvmState(state, regs, sregs, more);
  return state;
}

export function kvmRegsOf(state: CpuState): KvmRegs {
  const gprs = Object.fromEntries(GPRS.map((name, n) => [name, state.gprs[n] as bigint]));
  return { ...gprs, rip: state.rip, rflags: state.rflags } as unknown as KvmRegs;
}

/** @param before what KVM_GET_SREGS gave; the APIC base and pending interrupts are taken from there. */
export function kvmSregsOf(state: CpuState, before: Pick<KvmSregs, 'apicBase' | 'interruptBitmap'>): KvmSregs {
  const segments = Object.fromEntries(SEGMENTS.map(([ours, theirs]) => [theirs, giveSegment(state[ours])]));
  const table = ({ base, limit }: TableRegister): KvmDtable => ({ base: unsigned(base), limit });
  return {
    ...(segments as unknown as KvmSregs),
    gdt: table(state.gdtr),
    idt: table(state.idtr),
    cr0: BigInt(state.cr0 >>> 0),
    cr2: state.cr2,
    cr3: BigInt(state.cr3),
    cr4: BigInt(state.cr4),
    cr8: BigInt(state.cr8),
    efer: BigInt(state.efer),
    apicBase: before.apicBase,
    interruptBitmap: before.interruptBitmap,
  };
}
