import type { Memslot } from '../memslots.js';
import type { Vm } from '../vm.js';

const PAGE = 4096;

/** The shared EPT of a TD: memory slots that lead to the process's memory. GPAs in bytes, without the shared bit. */
export class SharedMemory {
  constructor(private readonly vm: Vm) {}

  /** Within one page; undefined where the guest has no shared memory. */
  read(gpa: number, length: number): Uint8Array | undefined {
    const address = this.#userAddress(gpa);
    return address === undefined ? undefined : this.vm.task.readUser(address, length);
  }

  /** Within one page; false where the guest has no shared memory. */
  write(gpa: number, bytes: Uint8Array): boolean {
    const address = this.#userAddress(gpa);
    return address !== undefined && this.vm.task.writeUser(address, bytes);
  }

  /** Whether an access becomes a #VE: kvm_handle_noslot_fault() puts an MMIO entry into the EPT. */
  isMmio(gpa: number): boolean {
    const gfn = Math.floor(gpa / PAGE);
    return !this.vm.privatePages.covers(gfn, gfn + 1) && this.vm.slots.find(gfn) === undefined;
  }

  #userAddress(gpa: number): bigint | undefined {
    const gfn = Math.floor(gpa / PAGE);
    if (this.vm.privatePages.covers(gfn, gfn + 1)) return undefined;
    const slot: Memslot | undefined = this.vm.slots.find(gfn);
    return slot && slot.userspaceAddr + BigInt(gpa - slot.baseGfn * PAGE);
  }
}
