import { KVM_MEM_GUEST_MEMFD, KVM_MEM_LOG_DIRTY_PAGES, KVM_MEM_READONLY } from '../../kvm/constants.js';
import { KVM_USER_MEM_SLOTS } from './check-extension.js';
import type { KernelGuestMemfd } from './guest-memfd.js';
import { demand, Refusal } from './refusal.js';
import type { Vm } from './vm.js';

const PAGE = 4096n;
const U64 = 1n << 64n;
/** TASK_SIZE_MAX with 4-level page tables: what access_ok() accepts. */
const USER_END = 1n << 47n;
const MAX_PAGES = (1n << 31n) - 1n;

/** `struct kvm_userspace_memory_region2`, its descriptor looked up. */
export interface UserMemoryRegion {
  slot: number;
  flags: number;
  guestPhysAddr: bigint;
  memorySize: bigint;
  userspaceAddr: bigint;
  guestMemfdOffset: bigint;
  /** Undefined: no descriptor of that number, or a closed one. 'foreign': not a guest_memfd. */
  guestMemfd?: KernelGuestMemfd | 'foreign' | undefined;
}

/** `struct kvm_memory_slot`. */
export interface Memslot {
  /** Slot number with the address space in bits 31:16. */
  readonly id: number;
  baseGfn: number;
  readonly npages: number;
  flags: number;
  readonly userspaceAddr: bigint;
  /** 'closed': there was one, and its descriptor was closed. */
  gmem: KernelGuestMemfd | 'closed' | undefined;
  /** Page number in gmem of the slot's first page. */
  gmemPage: number;
}

/** The memory slots of a VM (virt/kvm/kvm_main.c, kvm_set_memory_region). */
export class Memslots {
  readonly #slots = new Map<number, Memslot>();

  constructor(private readonly vm: Vm) {}

  /** gfn_to_memslot() in address space 0. */
  find(gfn: number): Memslot | undefined {
    for (const slot of this.#slots.values())
      if (slot.id < 0x1_0000 && slot.baseGfn <= gfn && gfn < slot.baseGfn + slot.npages) return slot;
    return undefined;
  }

  /** id_to_memslot(): by slot number, with the address space in bits 31:16. */
  byId(id: number): Memslot | undefined {
    return this.#slots.get(id);
  }

  /** KVM_SET_USER_MEMORY_REGION2. */
  set(region: UserMemoryRegion): void {
    demand((region.slot & 0xffff) < KVM_USER_MEM_SLOTS, 'kvm.memslot.number');
    this.#checkFlags(region.flags);
    this.#checkShape(region);
    const old = this.#slots.get(region.slot);
    if (region.memorySize === 0n) this.#delete(old);
    else if (old) this.#modify(old, region);
    else this.#create(region);
  }

  #checkFlags(flags: number): void {
    const gmem = (flags & KVM_MEM_GUEST_MEMFD) !== 0;
    let valid = gmem ? 0 : KVM_MEM_LOG_DIRTY_PAGES;
    if (this.vm.hasPrivateMem) valid |= KVM_MEM_GUEST_MEMFD;
    if (!this.vm.td && !gmem) valid |= KVM_MEM_READONLY;
    demand((flags & ~valid) === 0, 'kvm.memslot.flags');
  }

  #checkShape({ slot, flags, guestPhysAddr, memorySize, userspaceAddr, guestMemfdOffset }: UserMemoryRegion): void {
    const aligned = (value: bigint) => value % PAGE === 0n;
    demand(aligned(memorySize) && aligned(guestPhysAddr) && aligned(userspaceAddr), 'kvm.memslot.alignment');
    demand(userspaceAddr + memorySize <= USER_END, 'kvm.memslot.alignment');
    if ((flags & KVM_MEM_GUEST_MEMFD) !== 0)
      demand(aligned(guestMemfdOffset) && guestMemfdOffset + memorySize < U64, 'kvm.memslot.alignment');
    demand(slot >>> 16 < (this.vm.hasPrivateMem ? 1 : 2), 'kvm.memslot.number');
    demand(guestPhysAddr + memorySize < U64, 'kvm.memslot.alignment');
    demand(memorySize / PAGE <= MAX_PAGES, 'kvm.memslot.size');
  }

  #create(region: UserMemoryRegion): void {
    const slot: Memslot = {
      id: region.slot,
      baseGfn: Number(region.guestPhysAddr / PAGE),
      npages: Number(region.memorySize / PAGE),
      flags: region.flags,
      userspaceAddr: region.userspaceAddr,
      gmem: undefined,
      gmemPage: 0,
    };
    this.#checkOverlap(slot);
    if ((region.flags & KVM_MEM_GUEST_MEMFD) !== 0) {
      const { guestMemfd } = region;
      if (guestMemfd === undefined) throw new Refusal('kvm.guest-memfd.closed');
      if (guestMemfd === 'foreign' || guestMemfd.vm !== this.vm) throw new Refusal('kvm.memslot.guest-memfd');
      guestMemfd.bind(slot, region.guestMemfdOffset);
    }
    try {
      this.#prepare(slot);
    } catch (refusal) {
      this.#unbind(slot);
      throw refusal;
    }
    this.#slots.set(slot.id, slot);
  }

  #modify(old: Memslot, region: UserMemoryRegion): void {
    const same =
      (region.flags & KVM_MEM_GUEST_MEMFD) === 0 &&
      region.userspaceAddr === old.userspaceAddr &&
      Number(region.memorySize / PAGE) === old.npages &&
      ((region.flags ^ old.flags) & KVM_MEM_READONLY) === 0;
    demand(same, 'kvm.memslot.immutable');
    const baseGfn = Number(region.guestPhysAddr / PAGE);
    if (baseGfn !== old.baseGfn) {
      const moved = { ...old, baseGfn, flags: region.flags };
      this.#checkOverlap(moved);
      this.vm.td?.mmu.zap(old.baseGfn, old.baseGfn + old.npages);
      this.#prepare(moved);
      old.baseGfn = baseGfn;
    }
    old.flags = region.flags;
  }

  #delete(old: Memslot | undefined): void {
    if (!old) throw new Refusal('kvm.memslot.delete');
    this.vm.td?.mmu.zap(old.baseGfn, old.baseGfn + old.npages);
    this.#slots.delete(old.id);
    this.#unbind(old);
  }

  #unbind(slot: Memslot): void {
    if (slot.gmem && slot.gmem !== 'closed') slot.gmem.unbind(slot);
  }

  #checkOverlap(slot: Memslot): void {
    for (const other of this.#slots.values()) {
      if (other.id === slot.id || other.id >>> 16 !== slot.id >>> 16) continue;
      const apart = other.baseGfn + other.npages <= slot.baseGfn || slot.baseGfn + slot.npages <= other.baseGfn;
      demand(apart, 'kvm.memslot.overlap');
    }
  }

  /** kvm_arch_prepare_memory_region(). */
  #prepare(slot: Memslot): void {
    const last = slot.baseGfn + slot.npages - 1;
    demand(last < 2 ** (this.vm.host.maxPhyAddr - 12), 'kvm.memslot.max-gpa');
    const td = this.vm.td;
    if (td) demand(!td.isShared(BigInt(last) * PAGE), 'kvm.memslot.shared-bit');
  }
}
