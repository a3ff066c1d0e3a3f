import type { TdxOperandName } from '../../kvm/status.js';
import type { ModuleState } from './module-state.js';
import { opStateAllows } from './op-state.js';
import { PAGE_4K, PageLocks, type PageType, type PamtEntry, PT } from './pamt.js';
import { refuse } from './refusal.js';
import type { SeamcallArgs, SeamcallResult } from './seamcall.js';
import { LIFECYCLE, MIN_TDCX, MIN_TDVPS, TDVPS_PER_L2, type Td, type Vcpu } from './td.js';

const PA_LIMIT = 1n << 52n;

/** One SEAMCALL under way: its registers, its locks and the checks that leaves share, in the module's order. */
export class Call {
  readonly locks: PageLocks;
  readonly version: number;
  readonly package: number;
  readonly rcx: bigint;
  readonly rdx: bigint;
  readonly r8: bigint;
  readonly r9: bigint;
  readonly r10: bigint;
  readonly r11: bigint;
  readonly out: SeamcallResult;

  constructor(
    readonly module: ModuleState,
    readonly leaf: number,
    args: SeamcallArgs,
  ) {
    this.locks = new PageLocks(module.pamt);
    this.version = args.version ?? 0;
    this.package = args.package ?? 0;
    const { rcx = 0n, rdx = 0n, r8 = 0n, r9 = 0n, r10 = 0n, r11 = 0n } = args;
    this.rcx = rcx;
    this.rdx = rdx;
    this.r8 = r8;
    this.r9 = r9;
    this.r10 = r10;
    this.r11 = r11;
    this.out = { status: 0n, rcx, rdx, r8, r9, r10, r11 };
  }

  /** A physical address that must be aligned, without KeyID and below 2^52, whatever the native MAXPA is. */
  privatePa(pa: bigint, operand: TdxOperandName, alignment = PAGE_4K): number {
    const valid = pa < PA_LIMIT && (pa & this.module.facts.hkidMask) === 0n && Number(pa) % alignment === 0;
    if (!valid) throw refuse('module.page.address', operand);
    return Number(pa);
  }

  /** A physical address of ordinary memory: aligned, outside the SEAMRR, with a KeyID that is not private. Returned without it. */
  sharedPa(pa: bigint, operand: TdxOperandName, alignment: number): number {
    const address = this.sharedAddress(pa, alignment);
    if (address === undefined) throw refuse('module.memory.shared-address', operand);
    return address;
  }

  /** The same, undefined where it is not ordinary memory. */
  sharedAddress(pa: bigint, alignment: number): number | undefined {
    const { hkidStartBit, hkidMask, privateHkidMin, seamrr } = this.module.facts;
    if (pa >= PA_LIMIT) return undefined;
    const address = Number(pa & ~hkidMask);
    const valid =
      address % alignment === 0 &&
      (address + alignment <= seamrr.base || address >= seamrr.base + seamrr.size) &&
      (pa & hkidMask) >> BigInt(hkidStartBit) < BigInt(privateHkidMin);
    return valid ? address : undefined;
  }

  /** Locks the 4 KiB page at `pa`, which must lie in a TDMR and be of type `type`. */
  page(pa: bigint, operand: TdxOperandName, type: PageType, exclusive: boolean): PamtEntry {
    const address = this.privatePa(pa, operand);
    const { pamt } = this.module;
    if (!pamt.covers(address)) throw refuse('module.page.in-tdmr', operand);
    const entry = pamt.leaf(address);
    this.locks.take(entry, exclusive, operand);
    if (entry.size !== 0 || entry.type !== type) throw refuse('module.page.type', operand);
    return entry;
  }

  /** The TD whose TDR the operand names. */
  td(pa: bigint, operand: TdxOperandName, exclusive: boolean): Td {
    return this.module.tds.get(this.page(pa, operand, PT.TDR, exclusive).pa) as Td;
  }

  /** The VCPU whose TDVPR the operand names; its TD is locked for sharing. */
  vcpu(pa: bigint, operand: TdxOperandName, exclusive: boolean): Vcpu {
    const entry = this.page(pa, operand, PT.TDVPR, exclusive);
    this.locks.take(this.module.pamt.entry(entry.owner), false, 'TDR');
    return this.module.vcpus.get(entry.pa) as Vcpu;
  }

  /** Neither fatal, nor without keys, nor without TDCS, and in an OP_STATE that serves this leaf. */
  checkState(td: Td): void {
    if (td.fatal) throw refuse('module.td.fatal');
    if (td.lifecycle !== LIFECYCLE.KEYS_CONFIGURED) throw refuse('module.td.keys-configured');
    if (td.tdcxPages.length < MIN_TDCX) throw refuse('module.td.tdcs-allocated');
    if (!opStateAllows(this.leaf, td.opState)) throw refuse('module.td.op-state');
  }

  /** The TDVPS has all its pages. */
  checkTdvps(vcpu: Vcpu): void {
    const needed = MIN_TDVPS + TDVPS_PER_L2 * (vcpu.td.configuration?.numL2Vms ?? 0);
    if (vcpu.pages.length < needed) throw refuse('module.vp.tdvps-pages');
  }
}
