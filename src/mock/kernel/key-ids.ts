import { Refusal } from './refusal.js';

/** The guest's part of the private KeyIDs: every TD holds one (ida_alloc_range: the lowest free one). */
export class KeyIdPool {
  readonly #used = new Set<number>();

  /** @param first the first KeyID after the TDX module's own. @param count how many there are for TDs. */
  constructor(
    readonly first: number,
    readonly count: number,
  ) {}

  get inUse(): number {
    return this.#used.size;
  }

  /** @throws Refusal ENOSPC when all are taken. */
  alloc(): number {
    for (let id = this.first; id < this.first + this.count; id++) {
      if (this.#used.has(id)) continue;
      this.#used.add(id);
      return id;
    }
    throw new Refusal('kvm.init-vm.keyid');
  }

  free(id: number): void {
    this.#used.delete(id);
  }
}

/** Resource "tdx" of the misc cgroup. Its usage can go below zero: KVM uncharges a failed charge once more. */
export class MiscCgroup {
  usage = 0;

  /** @param max misc.max. @param capacity misc.capacity: the number of guest KeyIDs. */
  constructor(
    readonly max: number,
    readonly capacity: number,
  ) {}

  /** misc_cg_try_charge(). @throws Refusal EBUSY. */
  charge(): void {
    if (this.usage + 1 > Math.min(this.max, this.capacity)) throw new Refusal('kvm.init-vm.misc-cgroup');
    this.usage++;
  }

  /** misc_cg_uncharge(). */
  uncharge(): void {
    this.usage--;
  }
}
