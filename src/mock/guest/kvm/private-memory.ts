import { PAGE_SIZE } from '../../../kvm/constants.js';
import type { GuestSpace } from '../engine.js';
import type { Patches } from './patches.js';
import { RangeSet } from './range-set.js';
import type { Slots } from './slots.js';

const ZEROS = Buffer.alloc(PAGE_SIZE);

/**
 * Private memory of a TD: which pages are mapped, and their content. KVM sees a page of zeros only once the guest has
 * touched it: a guest accepts its memory page by page, and each change of a slot costs more than an access.
 */
export class PrivateMemory {
  readonly #mapped = new RangeSet();
  /** Mapped with content, not yet shown. What KVM reads by itself, such as page tables, it must see at once. */
  readonly #waiting = new RangeSet();
  #started = false;

  constructor(
    private readonly slots: Slots,
    private readonly space: GuestSpace,
    private readonly patches: Patches,
  ) {}

  isMapped(gpa: number): boolean {
    return this.#mapped.find(gpa) !== undefined;
  }

  get generation(): number {
    return this.slots.generation;
  }

  map(gpa: number, size: number): void {
    let content = !this.#started;
    for (let at = gpa; at < gpa + size; at += PAGE_SIZE) {
      const page = this.space.privatePage(at);
      if (page.state !== 'mapped') continue;
      // What is not mapped holds zeros already.
      const fresh = this.#mapped.find(at) === undefined;
      if (fresh && (page.zero || ZEROS.equals(page.bytes))) continue;
      this.slots.write(at, page.bytes);
      content = true;
    }
    this.patches.forget(gpa, gpa + size);
    this.#mapped.add(gpa, gpa + size);
    if (content) this.#waiting.add(gpa, gpa + size);
  }

  /**
   * @param alone no vCPU runs. One that does may touch what a divided slot held while it is away for a moment; it then
   * leaves KVM and comes back.
   */
  unmap(gpa: number, size: number, alone: boolean): void {
    const end = gpa + size;
    this.#mapped.remove(gpa, end);
    this.#waiting.remove(gpa, end);
    this.patches.forget(gpa, end);
    for (const rest of this.slots.hide(gpa, end)) {
      if (alone) this.#waiting.add(rest.start, rest.end);
      else this.slots.show(rest.start, rest.end);
    }
    this.slots.discard(gpa, end);
  }

  /** Before the guest runs. @param alone no other vCPU runs. */
  prepare(alone: boolean): void {
    this.#started = true;
    if (this.#waiting.size > 0) {
      for (const { start, end } of this.#waiting) this.slots.show(start, end);
      this.#waiting.clear();
    }
    if (alone) this.slots.tidy();
  }

  /** The guest touches the mapped page at `gpa`: shows it to KVM with its mapped neighbours. False if KVM saw it already. */
  touch(gpa: number): boolean {
    if (this.slots.has(gpa)) return false;
    const { start, end } = this.#mapped.find(gpa)!;
    this.slots.show(start, end);
    return true;
  }

  /** As the guest's owner sees it: without the engine's patches. Within one page. */
  read(gpa: number, length: number): Uint8Array {
    return this.patches.restore(gpa, this.slots.read(gpa, length));
  }

  /** As the processor sees it. Within one page. */
  readRaw(gpa: number, length: number): Uint8Array {
    return this.slots.read(gpa, length);
  }

  /** Within one page. */
  write(gpa: number, bytes: Uint8Array): void {
    this.slots.write(gpa, bytes);
  }
}
