import { KVM_CAP } from '../../../kvm/constants.js';
import type { GuestMemory, KvmSystem, KvmVm } from '../../../kvm/index.js';
import type { Range } from './range-set.js';

/** Guest memory is allocated in pieces of this size, and a slot lies in one piece. Pages cost nothing until they are used. */
export const CHUNK = 2 ** 28;
/** With more slots than this, neighbours are made one when nobody runs. */
const MANY = 256;

interface Slot extends Range {
  number: number;
}

/** Memory of the guest's private pages, and the part of it that memory slots show to KVM. */
export class Slots {
  readonly #chunks = new Map<number, GuestMemory>();
  /** In order of `start`. */
  #slots: Slot[] = [];
  readonly #free: number[] = [];
  #next = 0;
  readonly #most: number;
  /** Changes whenever KVM sees other memory than before. */
  generation = 0;

  constructor(
    private readonly system: KvmSystem,
    private readonly vm: KvmVm,
  ) {
    this.#most = vm.checkExtension(KVM_CAP.NR_MEMSLOTS);
  }

  #chunk(gpa: number): GuestMemory {
    const key = Math.floor(gpa / CHUNK);
    let chunk = this.#chunks.get(key);
    if (chunk === undefined) {
      chunk = this.system.createMemory(CHUNK);
      this.#chunks.set(key, chunk);
    }
    return chunk;
  }

  /** Within one page. */
  read(gpa: number, length: number): Uint8Array {
    return this.#chunk(gpa).read(gpa % CHUNK, length);
  }

  /** Within one page. */
  write(gpa: number, bytes: Uint8Array): void {
    this.#chunk(gpa).write(gpa % CHUNK, bytes);
  }

  /** Zeroes whole pages. */
  discard(start: number, end: number): void {
    for (let at = start; at < end; ) {
      const stop = Math.min(end, at - (at % CHUNK) + CHUNK);
      this.#chunks.get(Math.floor(at / CHUNK))?.discard(at % CHUNK, stop - at);
      at = stop;
    }
  }

  #indexOf(at: number): number {
    let low = 0;
    for (let high = this.#slots.length; low < high; ) {
      const middle = (low + high) >> 1;
      if (this.#slots[middle]!.end > at) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  has(gpa: number): boolean {
    const slot = this.#slots[this.#indexOf(gpa)];
    return slot !== undefined && slot.start <= gpa;
  }

  #tell(slot: Slot, exists: boolean): void {
    const { number, start, end } = slot;
    this.vm.setUserMemoryRegion({
      slot: number,
      gpa: BigInt(start),
      size: exists ? end - start : 0,
      memory: exists ? this.#chunk(start) : null,
      memoryOffset: exists ? start % CHUNK : 0,
    });
    this.generation++;
    if (!exists) this.#free.push(number);
  }

  #create(start: number, end: number): Slot {
    const number = this.#free.pop() ?? this.#next++;
    if (number >= this.#most) {
      throw new Error(`the guest's private memory is in more pieces than KVM has memory slots (${this.#most})`);
    }
    const slot = { number, start, end };
    this.#tell(slot, true);
    return slot;
  }

  /** Shows what of [start, end) KVM does not see yet. Never takes anything away, not even for a moment. */
  show(start: number, end: number): void {
    for (let at = start; at < end; ) {
      const index = this.#indexOf(at);
      const next = this.#slots[index];
      if (next !== undefined && next.start <= at) {
        at = next.end;
        continue;
      }
      const stop = Math.min(end, next?.start ?? end, at - (at % CHUNK) + CHUNK);
      this.#slots.splice(index, 0, this.#create(at, stop));
      at = stop;
    }
  }

  /**
   * Hides [start, end). KVM cannot split a slot: what else the slots held is hidden with it.
   * @returns that rest.
   */
  hide(start: number, end: number): Range[] {
    const first = this.#indexOf(start);
    const rest: Range[] = [];
    let last = first;
    for (; last < this.#slots.length && this.#slots[last]!.start < end; last++) {
      const slot = this.#slots[last]!;
      this.#tell(slot, false);
      if (slot.start < start) rest.push({ start: slot.start, end: start });
      if (slot.end > end) rest.push({ start: end, end: slot.end });
    }
    this.#slots.splice(first, last - first);
    return rest;
  }

  /** Makes neighbours one where there are many slots. Only while no vCPU runs. */
  tidy(): void {
    if (this.#slots.length < MANY) return;
    const joined: Slot[] = [];
    for (let i = 0; i < this.#slots.length; ) {
      const group = [this.#slots[i++]!];
      const { start } = group[0]!;
      for (; i < this.#slots.length; i++) {
        const slot = this.#slots[i]!;
        if (slot.start !== group.at(-1)!.end || slot.start % CHUNK === 0) break;
        group.push(slot);
      }
      if (group.length === 1) {
        joined.push(group[0]!);
        continue;
      }
      for (const slot of group) this.#tell(slot, false);
      joined.push(this.#create(start, group.at(-1)!.end));
    }
    this.#slots = joined;
  }

  close(): void {
    for (const chunk of this.#chunks.values()) chunk.close();
    this.#chunks.clear();
  }
}
