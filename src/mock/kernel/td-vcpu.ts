import { TDX_STATUS } from '../../kvm/status.js';
import { findCpuidEntry, maxGuestPhyAddr, maxPhyAddr } from './cpuid2.js';
import { demand, Refusal } from './refusal.js';
import { TdRun } from './run/td-run.js';
import type { Td } from './td.js';
import { reclaimPage } from './td-teardown.js';
import type { TdxCmd } from './user.js';
import type { Vcpu } from './vcpu.js';

const X2APIC = 1 << 21;

/** VMCS fields that KVM writes, by encoding: TDVPS class 0 in TDH.VP.WR. */
const VMCS = {
  POSTED_INTR_NV: 0x0002n,
  POSTED_INTR_DESC_ADDR: 0x2016n,
  SHARED_EPT_POINTER: 0x203cn,
  PIN_BASED_VM_EXEC_CONTROL: 0x4000n,
} as const;

/** TDVPS fields: class 32 and 17, without an architectural definition. */
const PEND_NMI = 0xa000_0000_0000_000bn;
const VCPU_STATE_DETAILS = 0x9100_0000_0000_0100n;
/** tdx_vcpu_state_details_intr_pending(). */
const VMXIP = 1n;
const U8 = 0xffn;

const POSTED_INTR_VECTOR = 0xf2n;
const PIN_BASED_POSTED_INTR = 0x80n;
const U16 = 0xffffn;
const U64 = (1n << 64n) - 1n;

/** struct vcpu_tdx: what KVM keeps about a TD's vCPU. */
export class TdVcpu {
  state: 'uninitialized' | 'initialized' = 'uninitialized';
  /** KVM_RUN and what it keeps. */
  readonly run: TdRun;
  #tdvpr: bigint | undefined;
  #tdcx: bigint[] = [];
  /** Whether KVM's page table roots are loaded; KVM_SET_CPUID2 unloads them. */
  #mmuLoaded = false;

  constructor(
    readonly vcpu: Vcpu,
    readonly td: Td,
  ) {
    this.run = new TdRun(this);
  }

  /** The TDVPR's address in SEAMCALLs. */
  get tdvpr(): bigint {
    return this.#tdvpr ?? 0n;
  }

  /** KVM_TDX_INIT_VCPU (tdx_vcpu_init). */
  init(cmd: TdxCmd): void {
    demand(cmd.flags === 0, 'kvm.init-vcpu.flags');
    demand(this.state === 'uninitialized', 'kvm.init-vcpu.once');
    this.#setApicBase();
    this.#create(cmd.data);
    // A failure here kills the VM, and the request succeeds all the same.
    const { pa } = this.td.host.kernelData;
    this.#write(VMCS.POSTED_INTR_NV, POSTED_INTR_VECTOR, U16);
    this.#write(VMCS.POSTED_INTR_DESC_ADDR, pa, U64);
    this.#write(VMCS.PIN_BASED_VM_EXEC_CONTROL, PIN_BASED_POSTED_INTR, PIN_BASED_POSTED_INTR);
    this.state = 'initialized';
  }

  /** kvm_apic_set_base() with x2APIC enabled at 0xfee00000, which needs 32 bits of physical address. */
  #setApicBase(): void {
    const { cpuid } = this.vcpu;
    demand(maxPhyAddr(cpuid) >= 32, 'kvm.init-vcpu.maxphyaddr');
    const features = findCpuidEntry(cpuid, 1, 0);
    demand(features !== undefined && (features.ecx & X2APIC) !== 0, 'kvm.init-vcpu.x2apic');
  }

  /** tdx_td_vcpu_init(). */
  #create(rcx: bigint): void {
    const { td, vcpu } = this;
    const { host, seamcalls, vm, tdx } = td;
    const tdvpr = host.memory.alloc();
    const tdcx: bigint[] = [];
    const failed = (status: bigint) => vm.bugOn(status !== 0n);
    const freeFrom = (first: number) => {
      for (const page of tdcx.slice(first)) host.memory.free(page);
    };
    try {
      while (tdcx.length < tdx.sysInfo.tdvpsPages - 1) tdcx.push(host.memory.alloc());
      const { status, rule } = seamcalls.vpCreate(td.tdr, tdvpr);
      if (failed(status)) throw new Refusal('kvm.init-vcpu.module', 'EIO', rule);
    } catch (refusal) {
      freeFrom(0);
      host.memory.free(tdvpr);
      throw refusal;
    }
    this.#tdvpr = tdvpr;
    this.#tdcx = [];
    for (const [i, page] of tdcx.entries()) {
      const { status, rule } = seamcalls.vpAddCx(tdvpr, page);
      if (failed(status)) {
        freeFrom(i);
        throw new Refusal('kvm.init-vcpu.module', 'EIO', rule);
      }
      this.#tdcx.push(page);
    }
    const { status, rule } = seamcalls.vpInit(tdvpr, rcx, vcpu.id);
    if (failed(status)) throw new Refusal('kvm.init-vcpu.module', 'EIO', rule);
    vcpu.runnable = true;
  }

  /** td_vmcs_write*(): a failure kills the VM and is not reported. */
  #write(field: bigint, value: bigint, mask: bigint): void {
    const { td } = this;
    td.vm.bugOn(td.seamcalls.vpWr(this.tdvpr, field, value, mask).status !== 0n);
  }

  /** tdx_inject_nmi(). */
  injectNmi(): void {
    this.#write(PEND_NMI, 1n, U8);
  }

  /** Whether an interrupt waits in the guest's own APIC, which only the TDX module sees. A failure counts as none. */
  hasVirtualInterrupt(): boolean {
    const { status, r8 } = this.td.seamcalls.vpRd(this.tdvpr, VCPU_STATE_DETAILS);
    return !this.td.vm.bugOn(status !== 0n) && (r8 & VMXIP) !== 0n;
  }

  afterSetCpuid(): void {
    this.#mmuLoaded = false;
  }

  /** kvm_mmu_get_tdp_level(): 5 levels only where the vCPU's CPUID asks for more than 48 bits. */
  get tdpLevel(): 4 | 5 {
    return this.td.host.ept5Levels && maxGuestPhyAddr(this.vcpu.cpuid) > 48 ? 5 : 4;
  }

  /** kvm_mmu_reload() and tdx_load_mmu_pgd(): the vCPU's levels must put the shared bit where the TD has it. */
  reloadMmu(): void {
    if (this.#mmuLoaded) return;
    this.#mmuLoaded = true;
    const { td } = this;
    const sharedBit = this.tdpLevel === 5 ? 1n << 51n : 1n << 47n;
    if (td.vm.bugOn(sharedBit !== td.sharedBit)) return;
    this.#write(VMCS.SHARED_EPT_POINTER, td.host.kernelData.sharedEptRoot, U64);
  }

  /** tdx_vcpu_pre_run(), and what happens on the way into the guest. */
  checkRun(): void {
    demand(this.state === 'initialized' && this.td.state === 'runnable', 'kvm.run.td-state');
    this.reloadMmu();
    if (this.td.vm.dead) throw new Refusal('kvm.gpaw-mismatch');
    this.vcpu.hasRun = true;
  }

  /** tdx_flush_vp(): TDH.VP.FLUSH, unless the vCPU was never initialised. */
  flush(): void {
    if (this.state === 'uninitialized') return;
    const { status } = this.td.seamcalls.vpFlush(this.tdvpr);
    this.td.vm.bugOn(status !== 0n && status !== TDX_STATUS.TDX_VCPU_NOT_ASSOCIATED);
  }

  /** tdx_vcpu_free(): the pages come back once the KeyID is gone. */
  free(): void {
    if (this.td.hkid !== undefined) return;
    for (const page of this.#tdcx) reclaimPage(this.td, page);
    this.#tdcx = [];
    if (this.#tdvpr !== undefined) reclaimPage(this.td, this.#tdvpr);
    this.#tdvpr = undefined;
    this.state = 'uninitialized';
  }
}
