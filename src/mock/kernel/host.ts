import type { CpuidEntry } from '../../kvm/cpuid.js';
import { type Clock, processClock } from '../clock.js';
import { type Fault, Faults } from '../faults.js';
import type { GuestEngine } from '../guest/engine.js';
import type { GuestTrace } from '../module/guest-trace.js';
import type { Profile } from '../profiles.js';
import { bootTdx } from './boot.js';
import { checkExtension } from './check-extension.js';
import { HostEngine } from './engine.js';
import { KeyIdPool, MiscCgroup } from './key-ids.js';
import type { PhysicalMemory } from './physical-memory.js';
import { Seamcalls, type SeamcallTrace } from './seamcalls.js';
import { supportedCpuid } from './supported-cpuid.js';
import { type TdxHost, vmTypesWithTdx, whyNoTdx } from './tdx-host.js';
import type { Vm } from './vm.js';

export interface MockHostOptions {
  /** Added to those of the profile. */
  faults?: readonly Fault[];
  /** Called after each try of a SEAMCALL. */
  onSeamcall?: (trace: SeamcallTrace) => void;
  /** Makes what executes guests; asked when the first one is entered. Without it KVM_RUN of a TD ends in an exit that says so. */
  engine?: () => Promise<GuestEngine>;
  /** Called after each TDCALL of a guest, each exception that the TDX module injects and each TD exit. */
  onGuest?: (trace: GuestTrace) => void;
  /** Time of the machine; by default the process's. */
  clock?: Clock;
}

/** What is in use on a host, for tests that look for leaks. */
export interface MockHostStats {
  vms: number;
  tds: number;
  vcpus: number;
  keyIdsInUse: number;
  keyIdsFree: number;
  /** Pages of 4096 bytes that the kernel has allocated for TDs and guest_memfds. */
  pagesAllocated: number;
  seamcalls: number;
}

/** A modelled machine: processors, memory, the TDX module, KVM. Several systems opened on one host share its KeyIDs. */
export class MockHost {
  readonly presentCpus: number;
  readonly onlineCpus: number;
  readonly tscKhz: number;
  readonly packages: number;
  /** Native MAXPHYADDR, bits. */
  readonly maxPhyAddr: number;
  /** cpu_has_vmx_ept_5levels(). */
  readonly ept5Levels: boolean;
  /** KVM_CAP_VM_TYPES. */
  readonly vmTypes: number;
  /** Undefined where KVM has no TDX; {@link whyNoTdx} says why. @internal */
  readonly tdx: TdxHost | undefined;
  readonly whyNoTdx: string | undefined;
  /** @internal */
  readonly clock: Clock;
  /** @internal */
  readonly memory: PhysicalMemory;
  /** @internal */
  readonly keyIds: KeyIdPool;
  /** @internal */
  readonly miscCgroup: MiscCgroup;
  /** @internal */
  readonly seamcalls: Seamcalls;
  /** What executes guests. */
  readonly engine: HostEngine;
  readonly faults: Faults;
  /** @internal */
  readonly vms = new Set<Vm>();
  /** Open systems. @internal */
  systems = 0;
  /** Addresses of data that the kernel shows to the TDX module: a posted-interrupt descriptor, the shared EPT's root. @internal */
  readonly kernelData: { pa: bigint; sharedEptRoot: bigint };

  constructor(
    readonly profile: Profile,
    options: MockHostOptions = {},
  ) {
    const { kernel } = profile;
    this.presentCpus = kernel.presentCpus;
    this.onlineCpus = kernel.onlineCpus ?? kernel.presentCpus;
    this.tscKhz = kernel.tscKhz;
    this.faults = new Faults([...(profile.faults ?? []), ...(options.faults ?? [])]);

    const { onGuest, clock = processClock } = options;
    this.clock = clock;
    this.engine = new HostEngine(options.engine);
    const tsc = () => this.tsc();
    const boot = bootTdx(profile, { engine: this.engine.get, tsc, ...(onGuest && { onGuest }) });
    this.maxPhyAddr = boot.maxPhyAddr;
    this.ept5Levels = boot.ept5Levels;
    this.packages = boot.packages;
    this.memory = boot.memory;
    this.kernelData = boot.kernelData;
    this.keyIds = new KeyIdPool(boot.guestKeyIds.first, kernel.keyIds ?? boot.guestKeyIds.count);
    const capacity = boot.guestKeyIds.count;
    this.miscCgroup = new MiscCgroup(kernel.miscCgroupLimit ?? Number.POSITIVE_INFINITY, capacity);
    this.whyNoTdx = kernel.tdx
      ? (boot.whyNoModule ?? (boot.tdx && whyNoTdx(boot.tdx, this.presentCpus)))
      : 'kvm_intel is loaded with tdx=0';
    this.tdx = this.whyNoTdx === undefined ? boot.tdx : undefined;
    this.vmTypes = vmTypesWithTdx(kernel.vmTypes, this.tdx !== undefined);
    this.seamcalls = new Seamcalls(
      boot.tdx?.module,
      this.faults.seamcall,
      options.onSeamcall ?? (() => {}),
      boot.keyed,
      boot.globalHkid,
    );
  }

  /** One user of this host less, a system or a VM: with the last one the engine goes. @internal */
  release(): void {
    if (this.systems > 0 || this.vms.size > 0) return;
    // It rejects if the engine could not be made, which KVM_RUN has said.
    this.tdx?.module.close().catch(() => {});
    void this.engine.close();
  }

  /** RDTSC. @internal */
  tsc(): bigint {
    return (this.clock.now() * BigInt(this.tscKhz)) / 1_000_000n;
  }

  /** KVM_CHECK_EXTENSION on `/dev/kvm`. */
  checkExtension(capability: number): number {
    return this.faults.during('KVM_CHECK_EXTENSION', () => checkExtension(this, undefined, capability));
  }

  /** KVM_GET_SUPPORTED_CPUID. */
  supportedCpuid(): CpuidEntry[] {
    return this.profile.supportedCpuid?.map((entry) => ({ ...entry })) ?? supportedCpuid(this.profile.platform);
  }

  stats(): MockHostStats {
    const vms = [...this.vms];
    return {
      vms: vms.length,
      tds: vms.filter((vm) => vm.td?.hkid !== undefined).length,
      vcpus: vms.reduce((sum, vm) => sum + vm.vcpus.size, 0),
      keyIdsInUse: this.keyIds.inUse,
      keyIdsFree: this.keyIds.count - this.keyIds.inUse,
      pagesAllocated: this.memory.allocatedPages,
      seamcalls: this.seamcalls.count,
    };
  }
}
