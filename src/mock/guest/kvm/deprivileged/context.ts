// The processor that deprivileged code runs on: what of the guest's registers KVM is given for it, and what is taken back.
import type { KvmRegs, KvmSegment, KvmSregs } from '../../../../kvm/index.js';
import { AC, CR0_PG, CR0_WP, CR4_SMAP, CR4_SMEP, DF, EFER_NXE, ID, NT, STATUS_FLAGS, TF } from '../../cpu/bits.js';
import { type CpuState, kvmRegsOf, kvmSregsOf } from '../../cpu/index.js';
import { UNMAPPED_LINEAR } from './region.js';

/** PE, MP, ET, NE, WP, PG; of the guest's MP, EM and TS, which concern the FPU. */
const CR0 = 0x8001_0031n;
const CR0_OF_GUEST = 0xen;
/** PAE. */
const CR4 = 0x20n;
/** DE, OSFXSR, OSXMMEXCPT, FSGSBASE, OSXSAVE: what instructions depend on and privilege does not. */
const CR4_OF_GUEST = 0x5_0608n;
/** LME, LMA, NXE. */
const EFER = 0xd00n;
/** Flags that instructions of any privilege change. IF, IOPL and the rest are kept in software. */
const FLAGS = STATUS_FLAGS | DF | TF | NT | AC | ID;
const CPL = 3;

const segment = (from: KvmSegment): KvmSegment => ({
  ...from,
  ...{ type: 3, s: 1, dpl: CPL, present: 1, unusable: 0, limit: 0xffff_ffff, g: 1, db: 1, l: 0 },
  selector: from.selector | CPL,
});

/**
 * Special registers for KVM_SET_SREGS. Selectors are the guest's with RPL 3; bases and descriptor tables are the guest's, so
 * SGDT, SIDT, SLDT and STR show what they should. But no exception reaches a handler of the guest's by itself: there is no
 * TSS to take the stack of CPL 0 from. It ends in a triple fault with the registers as they were, see `trap.ts`.
 */
export function sregsFor(state: CpuState, before: KvmSregs, root: number): KvmSregs {
  const guest = kvmSregsOf(state, before);
  return {
    ...guest,
    tr: { ...guest.tr, base: UNMAPPED_LINEAR, limit: 0x67, type: 11, present: 1, unusable: 0, s: 0, g: 0, dpl: 0 },
    cs: { ...segment(guest.cs), type: 11, l: 1, db: 0, base: 0n },
    ss: { ...segment(guest.ss), base: 0n },
    ds: segment(guest.ds),
    es: segment(guest.es),
    fs: segment(guest.fs),
    gs: segment(guest.gs),
    cr0: CR0 | (guest.cr0 & CR0_OF_GUEST),
    cr3: BigInt(root),
    cr4: CR4 | (guest.cr4 & CR4_OF_GUEST),
    efer: EFER,
  };
}

/** The same at CPL 0, where KVM emulates. */
export function supervisorSregs(deprivileged: KvmSregs): KvmSregs {
  const { cs, ss } = deprivileged;
  return { ...deprivileged, cs: { ...cs, selector: 8, dpl: 0 }, ss: { ...ss, selector: 0x10, dpl: 0 } };
}

export const regsFor = (state: CpuState): KvmRegs => ({
  ...kvmRegsOf(state),
  rflags: BigInt((state.flags & FLAGS) | 2),
});

export function takeFlags(state: CpuState, rflags: bigint): void {
  state.flags = ((state.flags & ~FLAGS) | (Number(rflags & 0xffff_ffffn) & FLAGS) | 2) >>> 0;
}

/** All that the meaning of the guest's tables depends on. With another one, what was cached is worth nothing. */
export function pagingContext({ cr0, cr3, cr4, efer, flags }: CpuState): string {
  const smap = (cr4 & CR4_SMAP) !== 0 ? flags & AC : 0;
  return [cr0 & (CR0_WP | CR0_PG), cr3, cr4 & (CR4_SMAP | CR4_SMEP), efer & EFER_NXE, smap].join();
}
