// A guest in long mode with a user program: tables, handlers that tell their vector by a port, and memory for both. The same
// bytes run on KVM and in the interpreter.
import type { KvmRegs, KvmSegment, KvmSregs } from '../../src/kvm/index.js';

export const MEMORY_SIZE = 0x10000;
const PML4 = 0x1000;
const PDPT = 0x2000;
const PD = 0x3000;
const GDT = 0x4000;
const IDT = 0x5000;
const STUBS = 0x6000;
const TSS = 0x7000;
export const KERNEL_STACK = 0x8000;
const PT = 0x9000;
export const CODE = 0xa000;
/** Two pages that the program reads and writes, and nothing behind them. */
export const DATA = 0xc000;
export const DATA_SIZE = 0x2000;

export const EXIT_PORT = 0x70;
/** Port of the handler of vector 0. */
export const VECTOR_PORT = 0x80;

const KERNEL_CODE = 0x08;
const USER_DATA = 0x1b;
const USER_CODE = 0x23;
const TASK = 0x28;
/** 32-bit code of the program, in long mode. */
export const USER_CODE_32 = 0x3b;
const IOPL_3 = 0x3000n;

/** Tables and handlers; code and data are zeros. */
export function longModeMemory(): Uint8Array {
  const memory = new Uint8Array(MEMORY_SIZE);
  const view = new DataView(memory.buffer);
  const put = (at: number, ...values: bigint[]): void => {
    for (const [n, value] of values.entries()) view.setBigUint64(at + 8 * n, value, true);
  };
  put(PML4, BigInt(PDPT) | 7n);
  put(PDPT, BigInt(PD) | 7n);
  put(PD, BigInt(PT) | 7n);
  for (let page = 0x1000; page < MEMORY_SIZE; page += 0x1000) {
    const user = page === CODE ? 5n : page >= DATA && page < DATA + DATA_SIZE ? 7n : 3n;
    // The page before the data and those after it are not there: a program that strays faults.
    const present = page >= CODE && user === 3n ? 0n : user;
    put(PT + (page >> 12) * 8, BigInt(page) | present);
  }
  put(GDT, 0n, 0x00af_9b00_0000_ffffn, 0x00cf_9300_0000_ffffn, 0x00cf_f300_0000_ffffn, 0x00af_fb00_0000_ffffn);
  put(GDT + TASK, 0x0000_8b00_0000_0067n | (BigInt(TSS) << 16n), 0n, 0x00cf_fb00_0000_ffffn);
  put(TSS + 4, BigInt(KERNEL_STACK + 0x1000));
  for (let vector = 0; vector < 32; vector++) {
    const at = STUBS + 16 * vector;
    memory.set([0xe6, VECTOR_PORT + vector, 0xf4], at); // out port, al; hlt
    const dpl = vector === 3 || vector === 4 ? 0xeen : 0x8en;
    put(IDT + 16 * vector, BigInt(at) | (BigInt(KERNEL_CODE) << 16n) | (dpl << 40n), 0n);
  }
  return memory;
}

const segment = (selector: number, type: number, more: Partial<KvmSegment>): KvmSegment => ({
  base: 0n,
  limit: 0xffff_ffff,
  selector,
  type,
  present: 1,
  dpl: 3,
  db: 1,
  s: 1,
  l: 0,
  g: 1,
  avl: 0,
  unusable: 0,
  ...more,
});

/** Special registers of the program's start, at CPL 3. */
export function userSregs(before: KvmSregs): KvmSregs {
  const data = segment(USER_DATA, 3, {});
  return {
    ...before,
    cs: segment(USER_CODE, 11, { db: 0, l: 1 }),
    ...{ ds: data, es: data, fs: data, gs: data, ss: data },
    tr: segment(TASK, 11, { base: BigInt(TSS), limit: 0x67, dpl: 0, s: 0, db: 0, g: 0 }),
    ldt: segment(0, 2, { dpl: 0, s: 0, db: 0, g: 0, unusable: 1, present: 0 }),
    gdt: { base: BigInt(GDT), limit: 0x3f },
    idt: { base: BigInt(IDT), limit: 0x1ff },
    cr0: 0x8001_0033n,
    cr2: 0n,
    cr3: BigInt(PML4),
    cr4: 0x620n, // PAE, OSFXSR, OSXMMEXCPT
    efer: 0xd01n, // SCE, LME, LMA, NXE
  };
}

export const userRegs = (gprs: readonly bigint[], flags: bigint): KvmRegs => {
  const [rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi] = gprs as unknown as bigint[] & { length: 16 };
  const [r8, r9, r10, r11, r12, r13, r14, r15] = gprs.slice(8);
  return {
    ...{ rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15 },
    rip: BigInt(CODE),
    rflags: flags | IOPL_3 | 2n,
  } as KvmRegs;
};
