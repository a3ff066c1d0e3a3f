import { KVM_MEMORY_ATTRIBUTE_PRIVATE, KVM_X86_SW_PROTECTED_VM, KVM_X86_TDX_VM } from '../../kvm/constants.js';
import { checkExtension, KVM_MAX_VCPU_IDS, KVM_MAX_VCPUS } from './check-extension.js';
import { type EnableCap, enableCap } from './enable-cap.js';
import { KernelGuestMemfd } from './guest-memfd.js';
import type { MockHost } from './host.js';
import { Memslots, type UserMemoryRegion } from './memslots.js';
import { MsrFilter, type MsrFilterArgument } from './msr-filter.js';
import { PrivateRanges } from './private-ranges.js';
import { demand, Refusal } from './refusal.js';
import { deliverMsi } from './run/irq-delivery.js';
import { Td } from './td.js';
import { tdxVmIoctl } from './td-ioctl.js';
import type { Task, TdxCmd, TdxCmdData, UserValue } from './user.js';
import { Vcpu } from './vcpu.js';

const PAGE = 4096n;
const U64 = 1n << 64n;
/** kvm_caps.max_guest_tsc_khz on processors with TSC scaling. */
const MAX_GUEST_TSC_KHZ = 0x7fff_ffff;

/** `struct kvm_memory_attributes`. */
export interface MemoryAttributes {
  address: bigint;
  size: bigint;
  attributes: bigint;
  flags: bigint;
}

/**
 * A VM as KVM keeps it. Each method is one request on its descriptor, with the kernel's checks in the kernel's order; a
 * refused one throws Refusal. The VM lives until its descriptor and those of its vCPUs and guest_memfds are all closed.
 */
export class Vm {
  readonly td: Td | undefined;
  readonly vcpus = new Map<number, Vcpu>();
  readonly guestMemfds = new Set<KernelGuestMemfd>();
  readonly slots = new Memslots(this);
  readonly privatePages = new PrivateRanges();
  /** kvm->max_vcpus. */
  maxVcpus = KVM_MAX_VCPUS;
  /** kvm->arch.max_vcpu_ids, 0 until it is set or latched. */
  maxVcpuIds = 0;
  bspVcpuId = 0;
  createdVcpus = 0;
  irqchip: 'none' | 'kernel' | 'split' = 'none';
  defaultTscKhz: number;
  apicBusCycleNs = 1n;
  /** Hypercalls that exit to user space, a set of bits. */
  hypercallExits = 0n;
  /** Why accesses to MSRs exit to user space: the set of KVM_CAP_X86_USER_SPACE_MSR. */
  userSpaceMsrs = 0n;
  msrFilter: MsrFilter | undefined;
  #dead = false;
  #references = 1;
  #released = false;

  /** KVM_CREATE_VM. @throws Refusal EINVAL. */
  constructor(
    readonly host: MockHost,
    readonly task: Task,
    readonly type: number,
  ) {
    demand(type >= 0 && type < 32 && ((host.vmTypes >>> type) & 1) === 1, 'kvm.create-vm.type');
    this.defaultTscKhz = host.tscKhz;
    if (type === KVM_X86_TDX_VM && host.tdx) this.td = new Td(this, host.tdx);
    host.vms.add(this);
  }

  /** kvm->vm_dead: every request on the VM and its vCPUs fails. */
  get dead(): boolean {
    return this.#dead;
  }

  get hasPrivateMem(): boolean {
    return this.td !== undefined || this.type === KVM_X86_SW_PROTECTED_VM;
  }

  /** KVM_BUG_ON(): kills the VM for good if `condition` holds, and hands it back. */
  bugOn(condition: boolean): boolean {
    if (!condition) return false;
    this.#dead = true;
    // kvm_vm_dead(): KVM_REQ_VM_DEAD ends every KVM_RUN.
    for (const vcpu of this.vcpus.values()) vcpu.td?.run.kick();
    return true;
  }

  /** user_exit_on_hypercall(). */
  exitsOnHypercall(nr: bigint): boolean {
    return ((this.hypercallExits >> nr) & 1n) === 1n;
  }

  /** Runs a request: not on a dead VM, and not if a fault was asked for. */
  request<T>(name: string, body: () => T): T {
    this.checkAlive();
    return this.host.faults.during(name, body);
  }

  checkAlive(): void {
    demand(!this.#dead, 'kvm.vm-dead');
  }

  /** KVM_CHECK_EXTENSION. */
  checkExtension(capability: number): number {
    return this.request('KVM_CHECK_EXTENSION', () => checkExtension(this.host, this, capability));
  }

  /** KVM_ENABLE_CAP. */
  enableCap(readCap: () => EnableCap): void {
    this.request('KVM_ENABLE_CAP', () => enableCap(this, readCap()));
  }

  /** KVM_CREATE_IRQCHIP. */
  createIrqchip(): void {
    this.request('KVM_CREATE_IRQCHIP', () => {
      demand(this.irqchip === 'none', 'kvm.irqchip.exists');
      demand(this.createdVcpus === 0, 'kvm.irqchip.before-vcpus');
      this.irqchip = 'kernel';
    });
  }

  /**
   * KVM_SIGNAL_MSI, without the x2APIC format of KVM_CAP_X2APIC_API. @param address of the MSI: an id of 8 bits in bits 19:12,
   * bit 2 for a logical one. @param data vector in bits 7:0, delivery mode in bits 10:8.
   * @returns how many vCPUs took the interrupt. @throws Refusal EPERM where nobody is addressed.
   */
  signalMsi(address: bigint, data: number, flags = 0): number {
    return this.request('KVM_SIGNAL_MSI', () => {
      demand(this.irqchip !== 'none' && flags === 0, 'kvm.signal-msi');
      const destination = { id: Number((address >> 12n) & 0xffn), logical: (address & 4n) !== 0n, msi: true };
      const count = deliverMsi(this, destination, data & 0x700, data & 0xff);
      demand(count >= 0, 'kvm.signal-msi.destination');
      return count;
    });
  }

  /** KVM_SET_BOOT_CPU_ID. @param id unsigned long. */
  setBootCpuId(id: bigint): void {
    this.request('KVM_SET_BOOT_CPU_ID', () => {
      demand(this.createdVcpus === 0, 'kvm.boot-cpu-id.before-vcpus');
      const inRange = id <= BigInt(KVM_MAX_VCPU_IDS) && (this.maxVcpuIds === 0 || id <= BigInt(this.maxVcpuIds));
      demand(inRange, 'kvm.boot-cpu-id.range');
      this.bspVcpuId = Number(id);
    });
  }

  /** KVM_CREATE_VCPU. @param id unsigned long. */
  createVcpu(id: bigint): Vcpu {
    return this.request('KVM_CREATE_VCPU', () => {
      demand(id < BigInt(KVM_MAX_VCPU_IDS), 'kvm.create-vcpu.id');
      demand(this.createdVcpus < this.maxVcpus, 'kvm.create-vcpu.max-vcpus');
      if (this.maxVcpuIds === 0) this.maxVcpuIds = KVM_MAX_VCPU_IDS;
      demand(id < BigInt(this.maxVcpuIds), 'kvm.create-vcpu.max-vcpu-ids');
      this.td?.checkVcpuCreate();
      // On a host a duplicate leaves a freed vCPU on a list of the kernel's; here it is only refused.
      demand(!this.vcpus.has(Number(id)), 'kvm.create-vcpu.duplicate');
      const vcpu = new Vcpu(this, Number(id));
      this.vcpus.set(vcpu.id, vcpu);
      this.createdVcpus++;
      return vcpu;
    });
  }

  /** KVM_SET_TSC_KHZ. @param khz unsigned long, of which KVM takes the lower half. */
  setTscKhz(khz: bigint): void {
    this.request('KVM_SET_TSC_KHZ', () => {
      const value = Number(khz & 0xffff_ffffn);
      demand(value < MAX_GUEST_TSC_KHZ, 'kvm.tsc-khz.range');
      this.defaultTscKhz = value || this.host.tscKhz;
    });
  }

  /** KVM_GET_TSC_KHZ. */
  getTscKhz(): number {
    return this.request('KVM_GET_TSC_KHZ', () => this.defaultTscKhz);
  }

  /** KVM_SET_USER_MEMORY_REGION2. */
  setUserMemoryRegion2(readRegion: () => UserMemoryRegion): void {
    this.request('KVM_SET_USER_MEMORY_REGION2', () => this.slots.set(readRegion()));
  }

  /** KVM_SET_USER_MEMORY_REGION: the same without guest_memfd. */
  setUserMemoryRegion(readRegion: () => UserMemoryRegion): void {
    this.request('KVM_SET_USER_MEMORY_REGION', () => {
      const region = readRegion();
      demand((region.flags & ~3) === 0, 'kvm.memslot.flags');
      this.slots.set(region);
    });
  }

  /** KVM_CREATE_GUEST_MEMFD. */
  createGuestMemfd(readArgs: () => { size: bigint; flags: bigint }): KernelGuestMemfd {
    return this.request('KVM_CREATE_GUEST_MEMFD', () => {
      const { size, flags } = readArgs();
      return KernelGuestMemfd.create(this, size, flags);
    });
  }

  /** KVM_SET_MEMORY_ATTRIBUTES. Pages that become shared leave the TD. */
  setMemoryAttributes(readAttributes: () => MemoryAttributes): void {
    this.request('KVM_SET_MEMORY_ATTRIBUTES', () => {
      const { address, size, attributes, flags } = readAttributes();
      const supported = this.hasPrivateMem ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0n;
      demand(flags === 0n && (attributes & ~supported) === 0n, 'kvm.memory-attributes');
      demand(size !== 0n && address + size < U64, 'kvm.memory-attributes');
      demand(address % PAGE === 0n && size % PAGE === 0n, 'kvm.memory-attributes');
      const start = Number(address / PAGE);
      const end = Number((address + size) / PAGE);
      const isPrivate = attributes !== 0n;
      if (!isPrivate) this.td?.mmu.zap(start, end);
      this.privatePages.set(start, end, isPrivate);
    });
  }

  /** KVM_SET_TSS_ADDR. @param address unsigned long. */
  setTssAddr(address: bigint): void {
    this.request('KVM_SET_TSS_ADDR', () => demand(address <= 0xffff_d000n, 'kvm.tss-addr'));
  }

  /** KVM_SET_IDENTITY_MAP_ADDR. */
  setIdentityMapAddr(readAddress: () => bigint): void {
    this.request('KVM_SET_IDENTITY_MAP_ADDR', () => {
      demand(this.createdVcpus === 0, 'kvm.identity-map.before-vcpus');
      readAddress();
    });
  }

  /** KVM_X86_SET_MSR_FILTER. */
  setMsrFilter(readFilter: () => MsrFilterArgument): void {
    this.request('KVM_X86_SET_MSR_FILTER', () => {
      this.msrFilter = new MsrFilter(readFilter());
    });
  }

  /** KVM_MEMORY_ENCRYPT_OP. */
  memoryEncryptOp(cmd: UserValue<TdxCmd>, data: TdxCmdData): void {
    this.checkAlive();
    if (!this.td) throw new Refusal('kvm.tdx.not-a-td');
    tdxVmIoctl(this.td, cmd, data);
  }

  /** kvm_get_kvm(): one descriptor more. */
  hold(): void {
    this.#references++;
  }

  /** kvm_put_kvm(): with the last descriptor the VM goes. */
  drop(): void {
    if (--this.#references > 0) return;
    this.td?.destroy();
    this.vcpus.clear();
    this.host.vms.delete(this);
    this.host.release();
  }

  /** Closes the VM's own descriptor. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.drop();
  }
}
