// Memory of the engine's own in a TD's plain VM, one region for each vCPU: descriptor tables, the handlers that every
// exception of deprivileged code ends in, their stack, and page tables.
import { PAGE_SIZE } from '../../../../kvm/constants.js';
import type { GuestMemory, KvmSegment, KvmSystem, KvmVm } from '../../../../kvm/index.js';

/** Address space; pages cost nothing until they are used. KVM shadows the more page tables the more memory a VM has. */
const SIZE = 2 ** 28;

/** Where the fixed pages are linearly: Linux leaves these addresses to hypervisors, and firmware lies below 2^47. */
export const FIXED_LINEAR = -(2 ** 47) + 7 * 2 ** 40;
const FIXED_PAGES = 4;

// Offsets of the fixed pages and of what lies in them.
const TABLES = 0x0000;
const GDT = TABLES;
const TSS = TABLES + 0x100;
const IDT = TABLES + 0x200;
const STUBS = 0x1000;
const STACK = 0x2000;
const STACK_TOP = STACK + 0xff0;
/** Page tables that lead to the fixed pages. */
const FIXED_PDPT = 0x4000;
const FIXED_PD = 0x5000;
const FIXED_PT = 0x6000;
const FIRST_TABLE = 0x7000;

const VECTORS = 32;
const STUB_SIZE = 16;
const HLT = 0xf4;
const CODE_SELECTOR = 8;
const TSS_SELECTOR = 0x10;
const TSS_LIMIT = 0x67;
/** Privileged instructions that KVM executes for the guest, each with a HLT behind: see `serve`. */
const SERVICES = { rdmsr: [0x0f, 0x32], wrmsr: [0x0f, 0x30] } as const;
export type Service = keyof typeof SERVICES;
const SERVICE = STUBS + 0x800;

const linear = (offset: number): bigint => BigInt.asUintN(64, BigInt(FIXED_LINEAR + offset));

/** Present, writable, accessed, dirty; not for CPL 3. */
const SUPERVISOR = 0x63n;

const segment = (selector: number, type: number, more: Partial<KvmSegment>): KvmSegment => ({
  ...{ selector, base: 0n, limit: 0xffff_ffff, type, present: 1, dpl: 0, db: 0, s: 1, l: 0, g: 1, avl: 0, unusable: 0 },
  ...more,
});

/** Descriptor tables and TR, for KVM_SET_SREGS. Ports are all denied: the TSS ends before its bitmap. */
export const FIXED_REGISTERS = {
  gdt: { base: linear(GDT), limit: 0x1f },
  idt: { base: linear(IDT), limit: VECTORS * 16 - 1 },
  tr: segment(TSS_SELECTOR, 11, { s: 0, g: 0, limit: TSS_LIMIT, base: linear(TSS) }),
  ldt: segment(0, 2, { s: 0, g: 0, limit: 0, unusable: 1, present: 0 }),
} as const;

/** What an exception pushed. RIP is that of the instruction, or behind it for traps. */
export interface Frame {
  vector: number;
  errorCode: number;
  rip: bigint;
  rflags: bigint;
  rsp: bigint;
}
const WITH_ERROR = new Set([8, 10, 11, 12, 13, 14, 17, 21]);

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
    this.#words(GDT + CODE_SELECTOR, 0x00af_9b00_0000_ffffn);
    // RSP0; the bitmap of ports lies behind the end.
    this.#words(TSS, (linear(STACK_TOP) << 32n) & 0xffff_ffff_ffff_ffffn, linear(STACK_TOP) >> 32n);
    this.#memory.write(TSS + 0x66, Uint8Array.of(0xff, 0xff));
    for (let vector = 0; vector < VECTORS; vector++) {
      const offset = STUBS + vector * STUB_SIZE;
      const handler = linear(offset);
      const low =
        (handler & 0xffffn) | (BigInt(CODE_SELECTOR) << 16n) | (0x8en << 40n) | ((handler & 0xffff_0000n) << 32n);
      this.#words(IDT + 16 * vector, low, handler >> 32n);
      this.#memory.write(offset, Uint8Array.of(HLT));
    }
    for (const [n, code] of Object.values(SERVICES).entries()) {
      this.#memory.write(SERVICE + n * STUB_SIZE, Uint8Array.of(...code, HLT));
    }
    const index = (shift: number): number => Number((linear(0) >> BigInt(shift)) & 511n) * 8;
    this.#words(FIXED_PDPT + index(30), BigInt(this.gpa + FIXED_PD) | SUPERVISOR);
    this.#words(FIXED_PD + index(21), BigInt(this.gpa + FIXED_PT) | SUPERVISOR);
    for (let n = 0; n < FIXED_PAGES; n++) {
      this.#words(FIXED_PT + index(12) + 8 * n, BigInt(this.gpa + n * PAGE_SIZE) | SUPERVISOR);
    }
  }

  /** The entry of a top-level table for the fixed pages, and its index. */
  get fixedEntry(): { index: number; entry: bigint } {
    return { index: Number((linear(0) >> 39n) & 511n), entry: BigInt(this.gpa + FIXED_PDPT) | SUPERVISOR };
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

  /** Whether `rip` is in one of the handlers. */
  inStub(rip: bigint): boolean {
    return rip >= linear(STUBS) && rip < linear(STUBS) + BigInt(PAGE_SIZE);
  }

  /** The frame of the exception whose handler is at `rip`; undefined where it is none. */
  frame(rip: bigint): Frame | undefined {
    const vector = Math.floor(Number(rip - linear(STUBS)) / STUB_SIZE);
    if (vector < 0 || vector >= VECTORS) return undefined;
    const words = new BigUint64Array(this.#memory.read(STACK_TOP - 48, 48).slice().buffer);
    const errorCode = WITH_ERROR.has(vector) ? Number(words[0]! & 0xffff_ffffn) : 0;
    return { vector, errorCode, rip: words[1]!, rflags: words[3]!, rsp: words[4]! };
  }

  /** Where KVM executes such an instruction at CPL 0, with its stack; it ends in HLT at `done`, or in a handler. */
  service(name: Service): { rip: bigint; done: bigint; rsp: bigint } {
    const n = Object.keys(SERVICES).indexOf(name);
    const rip = linear(SERVICE + n * STUB_SIZE);
    return { rip, done: rip + BigInt(SERVICES[name].length + 1), rsp: linear(STACK_TOP) };
  }

  /** Once its VM is closed. */
  close(): void {
    this.#memory.close();
  }
}

/** Above all that a TD has: half way to the SHARED bit. */
export const regionAt = (sharedBit: number, index: number): number => sharedBit / 2 + index * SIZE;
