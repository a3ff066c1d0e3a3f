import { KVM_MEM_GUEST_MEMFD } from '../../kvm/constants.js';
import type { Memslot } from './memslots.js';
import { demand, Refusal } from './refusal.js';
import type { Vm } from './vm.js';

const PAGE = 4096n;
const MAX_OFFSET = 1n << 63n;

/** A guest_memfd (virt/kvm/guest_memfd.c): pages come when they are needed, and are "prepared" once they were in a TD. */
export class KernelGuestMemfd {
  /** Physical addresses by page number. */
  readonly #folios = new Map<number, bigint>();
  readonly #prepared = new Set<number>();
  readonly #slots = new Set<Memslot>();
  #open = true;

  private constructor(
    readonly vm: Vm,
    /** Bytes. */
    readonly size: bigint,
  ) {
    vm.hold();
    vm.guestMemfds.add(this);
  }

  /** KVM_CREATE_GUEST_MEMFD. */
  static create(vm: Vm, size: bigint, flags: bigint): KernelGuestMemfd {
    demand(flags === 0n && size > 0n && size < MAX_OFFSET && size % PAGE === 0n, 'kvm.guest-memfd.arguments');
    return new KernelGuestMemfd(vm, size);
  }

  get open(): boolean {
    return this.#open;
  }

  /** kvm_gmem_bind(): gives the slot's pages to this file, starting at `offset` bytes. */
  bind(slot: Memslot, offset: bigint): void {
    const start = Number(offset / PAGE);
    const end = start + slot.npages;
    const free = [...this.#slots].every((other) => other.gmemPage + other.npages <= start || end <= other.gmemPage);
    demand(offset % PAGE === 0n && BigInt(end) * PAGE <= this.size && free, 'kvm.memslot.guest-memfd');
    slot.gmem = this;
    slot.gmemPage = start;
    this.#slots.add(slot);
  }

  unbind(slot: Memslot): void {
    this.#slots.delete(slot);
    slot.gmem = undefined;
  }

  isPrepared(page: number): boolean {
    return this.#prepared.has(page);
  }

  markPrepared(page: number): void {
    this.#prepared.add(page);
  }

  /** filemap_grab_folio(): the physical address of a page. */
  folio(page: number): bigint {
    let pa = this.#folios.get(page);
    if (pa === undefined) {
      pa = this.vm.host.memory.alloc();
      this.#folios.set(page, pa);
    }
    return pa;
  }

  /** fallocate(PUNCH_HOLE | KEEP_SIZE), bytes. Works on a dead VM too. */
  punchHole(offset: bigint, length: bigint): void {
    const valid = offset >= 0n && length > 0n && offset + length < MAX_OFFSET;
    demand(valid && offset % PAGE === 0n && length % PAGE === 0n, 'kvm.guest-memfd.punch');
    const start = Number(offset / PAGE);
    const end = Number((offset + length) / PAGE);
    this.#invalidate(start, end);
    this.#truncate(start, end);
  }

  /** close(): unmaps what the TD has of this file and forgets the pages. */
  release(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#invalidate(0, Number.POSITIVE_INFINITY);
    for (const slot of this.#slots) slot.gmem = 'closed';
    this.#slots.clear();
    this.#truncate(0, Number.POSITIVE_INFINITY);
    this.vm.guestMemfds.delete(this);
    this.vm.drop();
  }

  /** kvm_gmem_invalidate_begin(): unmaps pages [start, end) of this file from the TD. */
  #invalidate(start: number, end: number): void {
    for (const slot of this.#slots) {
      const first = Math.max(slot.gmemPage, start);
      const last = Math.min(slot.gmemPage + slot.npages, end);
      if (first >= last) continue;
      const base = slot.baseGfn - slot.gmemPage;
      this.vm.td?.mmu.zap(base + first, base + last);
    }
  }

  /** truncate_inode_pages_range(). A page that the TDX module did not give back stays lost. */
  #truncate(start: number, end: number): void {
    for (const [page, pa] of this.#folios) {
      if (page < start || page >= end) continue;
      this.#folios.delete(page);
      this.#prepared.delete(page);
      if (this.vm.td?.mmu.isPinned(pa)) continue;
      this.vm.host.memory.free(pa);
    }
  }
}

/** The file of a slot, as KVM_TDX_INIT_MEM_REGION needs it. @throws Refusal EINVAL without guest_memfd, EFAULT when closed. */
export function slotMemfd(slot: Memslot | undefined): KernelGuestMemfd {
  if (!slot?.gmem || (slot.flags & KVM_MEM_GUEST_MEMFD) === 0) throw new Refusal('kvm.init-mem-region.memslot');
  if (slot.gmem === 'closed') throw new Refusal('kvm.init-mem-region.guest-memfd');
  return slot.gmem;
}
