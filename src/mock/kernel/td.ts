import { KVM_TDX } from '../../kvm/constants.js';
import type { MockHost } from './host.js';
import { MirrorEpt } from './mirror-ept.js';
import { demand } from './refusal.js';
import type { Seamcalls } from './seamcalls.js';
import { reclaimControlPages, releaseHkid } from './td-teardown.js';
import type { TdxHost } from './tdx-host.js';
import type { Vm } from './vm.js';

export type TdState = 'uninitialized' | 'initialized' | 'runnable';

/** KVM_TDX_* by id, for faults and traces. */
export const TDX_COMMAND_NAMES: Readonly<Record<number, string>> = Object.fromEntries(
  Object.entries(KVM_TDX).map(([name, id]) => [id, `KVM_TDX_${name}`]),
);

/** struct kvm_tdx: what KVM keeps about a TD. */
export class Td {
  state: TdState = 'uninitialized';
  /** The private KeyID, undefined while none is assigned. */
  hkid: number | undefined;
  /** Physical addresses of the control structure's pages. */
  tdrPage: bigint | undefined;
  tdcsPages: (bigint | undefined)[] = [];
  /** The shared bit of a guest physical address; 0 until KVM_TDX_INIT_VM fixes the GPAW. */
  sharedBit = 0n;
  attributes = 0n;
  tscOffset = 0n;
  tscMultiplier = 0n;
  xfam = 0n;
  /** Pages mapped in KVM's copy of the secure EPT that TDH.MEM.PAGE.ADD has not filled yet. */
  nrPremapped = 0;
  readonly mmu = new MirrorEpt(this);

  constructor(
    readonly vm: Vm,
    readonly tdx: TdxHost,
  ) {
    // A kernel that lets a VM choose starts from the module's limit, others from the number of processors.
    const { presentCpus, profile } = vm.host;
    const limit = profile.kernel.maxVcpusSettable ? (tdx.sysInfo.maxVcpusPerTd ?? vm.maxVcpus) : presentCpus;
    vm.maxVcpus = Math.min(vm.maxVcpus, limit);
  }

  get host(): MockHost {
    return this.vm.host;
  }

  get seamcalls(): Seamcalls {
    return this.vm.host.seamcalls;
  }

  /** The TDR's address in SEAMCALLs. */
  get tdr(): bigint {
    return this.tdrPage ?? 0n;
  }

  /** MRTD of a finalised TD, 48 bytes. On a host only the guest can ask for it. */
  get mrtd(): Uint8Array | undefined {
    return this.state === 'runnable' ? this.tdx.module.tds.get(Number(this.tdr))?.mrtd.slice() : undefined;
  }

  /** kvm_read_l1_tsc(): a TD's time-stamp counter now. */
  guestTsc(): bigint {
    return BigInt.asUintN(64, ((this.host.tsc() * this.tscMultiplier) >> 48n) + this.tscOffset);
  }

  /** !vt_is_tdx_private_gpa(): without a GPAW every address counts as shared. */
  isShared(gpa: bigint): boolean {
    return (gpa & this.sharedBit) !== 0n;
  }

  /** vt_is_tdx_private_gpa(). */
  isPrivate(gpa: bigint): boolean {
    return this.sharedBit !== 0n && !this.isShared(gpa);
  }

  /** tdx_vcpu_create(). */
  checkVcpuCreate(): void {
    demand(this.state === 'initialized', 'kvm.create-vcpu.td-state');
    demand(this.vm.irqchip === 'split', 'kvm.create-vcpu.split-irqchip');
  }

  /** kvm_make_all_cpus_request(KVM_REQ_OUTSIDE_GUEST_MODE): every vCPU leaves its guest, and comes back. */
  kickVcpus(): void {
    for (const { td } of this.vm.vcpus.values()) if (td?.state === 'initialized') this.seamcalls.kick(td.tdvpr);
  }

  /** kvm_destroy_vm(): the KeyID first, then the vCPUs' pages, the secure EPT's and the TD's own. */
  destroy(): void {
    releaseHkid(this);
    for (const vcpu of this.vm.vcpus.values()) vcpu.td?.free();
    this.mmu.free();
    reclaimControlPages(this);
    this.state = 'uninitialized';
  }
}
