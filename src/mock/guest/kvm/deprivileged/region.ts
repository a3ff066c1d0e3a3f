// Memory of the engine's own in a TD's plain VM, one region for each vCPU: page tables, and a page of code that KVM executes
// at CPL 0 for the guest.
import { PAGE_SIZE } from '../../../../kvm/constants.js';
import type { GuestMemory, KvmSystem, KvmVm } from '../../../../kvm/index.js';

/** Address space; pages cost nothing until they are used. KVM shadows the more page tables the more memory a VM has. */
const SIZE = 2 ** 28;

/** Where the page of code is linearly: Linux leaves these addresses to hypervisors, and firmware lies below 2^47. */
const CODE_LINEAR = 0xffff_8700_0000_0000n;
/** Behind it nothing is ever mapped. */
export const UNMAPPED_LINEAR = CODE_LINEAR + 0x10_0000n;

// Offsets in the region.
const CODE = 0x0000;
/** Page tables that lead to the code. */
const PDPT = 0x1000;
const DIRECTORY = 0x2000;
const PAGE_TABLE = 0x3000;
const FIRST_TABLE = 0x4000;

const HLT = 0xf4;
/** Privileged instructions that KVM executes for the guest, each with a HLT behind. */
const SERVICES = { rdmsr: [0x0f, 0x32, HLT], wrmsr: [0x0f, 0x30, HLT] } as const;
export type Service = keyof typeof SERVICES;
const SERVICE_SIZE = 16;

/** Present, writable, accessed, dirty; not for CPL 3. */
const SUPERVISOR = 0x63n;

export class Region {
  readonly #memory: GuestMemory;
  #next = FIRST_TABLE;

  /** @param gpa of the region, as `regionAt` gives it. @param slot of KVM's memory slots. */
  constructor(
    system: KvmSystem,
    private readonly vm: KvmVm,
    private readonly gpa: number,
    private readonly slot: number,
  ) {
    this.#memory = system.createMemory(SIZE);
    this.#build();
    this.#show(SIZE);
  }

  #show(size: number): void {
    const memory = size === 0 ? null : this.#memory;
    this.vm.setUserMemoryRegion({ slot: this.slot, gpa: BigInt(this.gpa), size, memory, memoryOffset: 0 });
  }

  #words(offset: number, ...words: bigint[]): void {
    this.#memory.write(offset, new Uint8Array(BigUint64Array.from(words).buffer));
  }

  #build(): void {
    for (const [n, code] of Object.values(SERVICES).entries()) {
      this.#memory.write(CODE + n * SERVICE_SIZE, Uint8Array.from(code));
    }
    const index = (shift: number): number => Number((CODE_LINEAR >> BigInt(shift)) & 511n) * 8;
    this.#words(PDPT + index(30), BigInt(this.gpa + DIRECTORY) | SUPERVISOR);
    this.#words(DIRECTORY + index(21), BigInt(this.gpa + PAGE_TABLE) | SUPERVISOR);
    this.#words(PAGE_TABLE + index(12), BigInt(this.gpa + CODE) | SUPERVISOR);
  }

  /** The entry of a top-level table for the page of code, and its index. */
  get codeEntry(): { index: number; entry: bigint } {
    return { index: Number((CODE_LINEAR >> 39n) & 511n), entry: BigInt(this.gpa + PDPT) | SUPERVISOR };
  }

  get free(): number {
    return (SIZE - this.#next) / PAGE_SIZE;
  }

  /** A page for a table that KVM has never seen as one, with these words. @returns its GPA. */
  newTable(words: BigUint64Array): number {
    const at = this.#next;
    this.#next += PAGE_SIZE;
    this.#memory.write(at, new Uint8Array(words.buffer));
    return this.gpa + at;
  }

  /** Writes a table again; KVM learns of entries that came or allow more. */
  rewrite(table: number, words: BigUint64Array): void {
    this.#memory.write(table - this.gpa, new Uint8Array(words.buffer));
  }

  /** Makes KVM forget all tables, so that their pages may be used again. */
  recycle(): void {
    this.#show(0);
    this.#memory.discard(FIRST_TABLE, this.#next - FIRST_TABLE);
    this.#next = FIRST_TABLE;
    this.#show(SIZE);
  }

  /** Where such an instruction is, linearly, and where KVM stops behind it. */
  service(name: Service): { rip: bigint; done: bigint } {
    const rip = CODE_LINEAR + BigInt(Object.keys(SERVICES).indexOf(name) * SERVICE_SIZE);
    return { rip, done: rip + BigInt(SERVICES[name].length) };
  }

  /** Once its VM is closed. */
  close(): void {
    this.#memory.close();
  }
}

/** Above all that a TD has: half way to the SHARED bit. */
export const regionAt = (sharedBit: number, index: number): number => sharedBit / 2 + index * SIZE;
