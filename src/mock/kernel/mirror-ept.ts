import { TDX_OPERANDS, TDX_STATUS } from '../../kvm/status.js';
import type { SeamcallResult } from '../module/seamcall.js';
import { Refusal } from './refusal.js';
import type { Td } from './td.js';
import { isOperandBusy } from './td-finalize.js';
import { reclaimPage } from './td-teardown.js';

const PAGE = 4096n;
const ENTRY_STATE_INCORRECT = TDX_STATUS.TDX_EPT_ENTRY_STATE_INCORRECT | BigInt(TDX_OPERANDS.RCX);
/** A kernel would go on until a signal comes; a model must end. */
const BUSY_TRIES = 10_000;

/** KVM's copy of the secure EPT (mmu/tdp_mmu.c, mirror page tables): which tables and pages the TDX module was given. */
export class MirrorEpt {
  /** Pages of the secure EPT, by level and first gfn. */
  readonly #tables = new Map<number, bigint>();
  /** Guest pages: gfn to physical address. */
  readonly #leaves = new Map<number, bigint>();
  readonly #pinned = new Set<bigint>();

  constructor(private readonly td: Td) {}

  /** Whether the TDX module still has the page, or lost it. */
  isPinned(pa: bigint): boolean {
    return this.#pinned.has(pa);
  }

  /**
   * kvm_tdp_map_page() before KVM_TDX_FINALIZE_VM: adds the missing tables from the top and counts the page as premapped
   * until TDH.MEM.PAGE.ADD fills it. @throws Refusal EIO on a dead VM, EINTR.
   */
  map(gfn: number, pa: bigint, levels: 4 | 5): void {
    const { task } = this.td.vm;
    if (task.signalPending()) throw new Refusal('kvm.init-mem-region.signal');
    if (this.td.vm.dead) throw new Refusal('kvm.gpaw-mismatch');
    if (this.#leaves.has(gfn)) return;
    for (let level = levels - 1; level >= 1; level--) this.#link(gfn, level);
    this.#leaves.set(gfn, pa);
    this.#pinned.add(pa);
    this.td.nrPremapped++;
  }

  /** The tables above a page, tried again while the module is busy. */
  #link(gfn: number, level: number): void {
    const { vm } = this.td;
    for (let tries = 0; ; tries++) {
      const failed = this.#addTable(gfn, level);
      if (!failed) return;
      const { status, rule } = failed;
      if (isOperandBusy(status) && tries < BUSY_TRIES && !vm.task.signalPending()) continue;
      if (isOperandBusy(status)) throw new Refusal('kvm.init-mem-region.signal', 'EINTR', rule);
      vm.bugOn(true);
      throw new Refusal('kvm.init-mem-region.sept', 'EIO', rule);
    }
  }

  /** tdx_sept_link_private_spt(): the table that maps pages of `level` around `gfn`. What failed, if something did. */
  #addTable(gfn: number, level: number): SeamcallResult | undefined {
    const span = 512 ** level;
    const first = gfn - (gfn % span);
    // Five levels of 512: the level fits below the first gfn, a multiple of 512.
    const key = first + level;
    if (this.#tables.has(key)) return undefined;
    const { host, seamcalls, tdr } = this.td;
    const page = host.memory.alloc();
    const result = seamcalls.memSeptAdd(tdr, BigInt(first) * PAGE, level, page);
    if (result.status === 0n) this.#tables.set(key, page);
    else host.memory.free(page);
    return result.status === 0n ? undefined : result;
  }

  /**
   * kvm_tdp_mmu_map() for a running guest: adds the missing tables and then the page with TDH.MEM.PAGE.AUG. 'retry' if the
   * module was busy, or failed, which kills the VM.
   */
  augment(gfn: number, pa: bigint, levels: 4 | 5): 'mapped' | 'retry' {
    const { seamcalls, tdr, vm } = this.td;
    if (this.#leaves.has(gfn)) return 'mapped';
    const retry = ({ status }: SeamcallResult) => {
      vm.bugOn(!isOperandBusy(status));
      return 'retry' as const;
    };
    for (let level = levels - 1; level >= 1; level--) {
      const failed = this.#addTable(gfn, level);
      if (failed) return retry(failed);
    }
    const result = seamcalls.memPageAug(tdr, BigInt(gfn) * PAGE, pa);
    if (result.status !== 0n) return retry(result);
    this.#leaves.set(gfn, pa);
    this.#pinned.add(pa);
    return 'mapped';
  }

  /** kvm_unmap_gfn_range(): takes the pages of [start, end) from the TD. */
  zap(start: number, end: number): void {
    if (this.#leaves.size === 0) return;
    const gfns = [...this.#leaves.keys()].filter((gfn) => start <= gfn && gfn < end).sort((a, b) => a - b);
    for (const gfn of gfns) {
      const pa = this.#leaves.get(gfn)!;
      this.#leaves.delete(gfn);
      if (this.#remove(BigInt(gfn) * PAGE, pa)) this.#pinned.delete(pa);
      else this.td.vm.bugOn(true);
    }
  }

  /** tdx_sept_remove_private_spte(): block, track, remove, write back. True where the page is free again. */
  #remove(gpa: bigint, pa: bigint): boolean {
    const { td } = this;
    const { seamcalls, vm, tdr, hkid } = td;
    if (hkid === undefined) return false;
    const blocked = this.#onceMoreIfBusy(() => seamcalls.memRangeBlock(tdr, gpa));
    // An entry that TDH.MEM.PAGE.ADD never filled: nothing to take back.
    if (blocked.status === ENTRY_STATE_INCORRECT && td.state !== 'runnable') {
      if (vm.bugOn(td.nrPremapped === 0)) return false;
      td.nrPremapped--;
      return true;
    }
    if (blocked.status !== 0n) return false;
    if (td.state === 'runnable') {
      vm.bugOn(this.#onceMoreIfBusy(() => seamcalls.memTrack(tdr)).status !== 0n);
      td.kickVcpus();
    }
    if (this.#onceMoreIfBusy(() => seamcalls.memPageRemove(tdr, gpa)).status !== 0n) return false;
    return seamcalls.phymemPageWbinvd(pa, hkid).status === 0n;
  }

  /** tdx_no_vcpus_enter_start(): the second try is made with all vCPUs kept out of the guest. */
  #onceMoreIfBusy(call: () => SeamcallResult): SeamcallResult {
    const result = call();
    if (!isOperandBusy(result.status)) return result;
    this.td.kickVcpus();
    return call();
  }

  /** kvm_tdp_mmu_uninit_vm(): gives the tables back, lowest first. Impossible while the KeyID is assigned. */
  free(): void {
    if (this.td.hkid !== undefined) {
      if (this.#tables.size > 0) this.td.vm.bugOn(true);
      return;
    }
    const tables = [...this.#tables].sort(([a], [b]) => (a % 512) - (b % 512));
    for (const [, page] of tables) reclaimPage(this.td, page);
    this.#tables.clear();
  }
}
