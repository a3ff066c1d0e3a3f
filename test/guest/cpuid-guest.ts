// A guest that brings a processor into a given state, executes CPUID for each query and keeps what it got. It does so in
// 64-bit mode, or in 32-bit code under it (compatibility mode): its handlers are 64-bit code, where TDCALL works.

export const PAGE = 0x1000;
const PML4 = 0x1000;
const PDPT = 0x2000;
const PD = 0x3000;
const TABLES = 0x4000; // GDT at 0, pointers at 0x300, IDT at 0x400
const START = 0x5000; // 32-bit code
const CODE = 0x5100; // 64-bit code
const QUERY_CODE = 0x5800;
const HANDLERS = 0x6000;
const STACK_TOP = 0x7000;
const QUERIES = 0x7000;
const ROWS = 0x8020; // what comes before the first #VE of a query goes into a row before the first
const ROW = 32;
const NOTES = 0xc000;
const END = 0xd000;
const RESET = 0xffff_fff0;
const CODE_64 = 0x08;
const DATA = 0x10;
const CODE_32 = 0x18;

// In NOTES.
const [RBX, RCX, RDX, RSI, R8, WRITTEN, XSETBV, WRMSR, CR4, DONE] = [0, 4, 8, 12, 16, 24, 32, 36, 40, 44] as const;

const TDCALL = [0x66, 0x0f, 0x01, 0xcc];
const [UD, GP, VE] = [6, 13, 20] as const;
const CR4_PAE = 0x20;
const CR4_OSXSAVE = 0x40000;

export interface CpuidGuest {
  queries: readonly (readonly [leaf: number, subleaf: number])[];
  mode64: boolean;
  /** Next to PAE. */
  cr4: number;
  xcr0?: bigint | undefined;
  xss?: bigint | undefined;
  /** A field that TDG.VM.WR writes, value and mask being the same. */
  vmWrite?: { field: bigint; value: bigint } | undefined;
}

/** What a guest kept. */
export interface CpuidNotes {
  /** Whether it came to its end. */
  done: boolean;
  /** Registers at its first instruction: RBX, RCX, RDX and RSI as far as 32-bit code sees them. */
  entry: Record<'rbx' | 'rcx' | 'rdx' | 'rsi' | 'r8', bigint>;
  /** RAX of TDG.VM.WR. */
  vmWrite: bigint;
  /** Vectors of exceptions, 0 for none. */
  xsetbv: number;
  wrmsr: number;
  cr4: number;
  /** EAX EBX ECX EDX, or the exit reason of a #VE. */
  rows: (readonly number[] | { ve: number })[];
}

const little = (value: bigint, size: number): number[] =>
  Array.from({ length: size }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn));
const u32 = (value: number): number[] => little(BigInt(value), 4);
const u64 = (value: bigint): number[] => little(value, 8);

/** `code` of `length` bytes may fault: the handler of #GP notes its vector and goes on behind it. */
const guarded = (note: number, code: readonly number[]): number[] => [
  ...[0x49, 0xc7, 0xc7, ...u32(NOTES + note)], // mov r15, note
  ...[0x49, 0xc7, 0xc6, ...u32(code.length)], // mov r14, length
  ...code,
];

const edxEax = (value: bigint): number[] => [
  ...[0xb8, ...little(value, 4)], // mov eax
  ...[0xba, ...little(value >> 32n, 4)], // mov edx
];

const SAVE_AND_ENTER_LONG_MODE = [
  ...[0x89, 0x1d, ...u32(NOTES + RBX), 0x89, 0x0d, ...u32(NOTES + RCX)],
  ...[0x89, 0x15, ...u32(NOTES + RDX), 0x89, 0x35, ...u32(NOTES + RSI)],
  ...[0x0f, 0x01, 0x15, ...u32(TABLES + 0x300)], // lgdt
  ...[0x0f, 0x20, 0xe0, 0x83, 0xc8, CR4_PAE, 0x0f, 0x22, 0xe0], // CR4.PAE
  ...[0xb8, ...u32(PML4), 0x0f, 0x22, 0xd8], // CR3
  ...[0x0f, 0x20, 0xc0, 0x0d, ...u32(0x8000_0000), 0x0f, 0x22, 0xc0], // CR0.PG
  ...[0xea, ...u32(CODE), CODE_64, 0], // far jump
];

/**
 * HLT, whose #VE goes into the row before the first: an engine on KVM sees instructions of the processor's own that it can
 * find from where the guest stopped.
 */
const SHOW_CODE = [0xbf, ...u32(ROWS - ROW), 0xf4];

function setUp({ cr4, xcr0, xss, vmWrite, mode64 }: CpuidGuest): number[] {
  return [
    ...[0x66, 0xb8, DATA, 0, 0x8e, 0xd0, 0x8e, 0xd8, 0x8e, 0xc0], // mov ax; mov ss, ds, es
    ...[0xbc, ...u32(STACK_TOP), 0x0f, 0x01, 0x1c, 0x25, ...u32(TABLES + 0x310)], // mov esp; lidt
    ...[0x4c, 0x89, 0x04, 0x25, ...u32(NOTES + R8)],
    ...SHOW_CODE,
    ...(xcr0 === undefined
      ? []
      : [
          ...[0x0f, 0x20, 0xe0, 0x0d, ...u32(CR4_OSXSAVE), 0x0f, 0x22, 0xe0],
          ...[...edxEax(xcr0), 0x31, 0xc9, ...guarded(XSETBV, [0x0f, 0x01, 0xd1])],
        ]),
    ...(xss === undefined ? [] : [...edxEax(xss), 0xb9, ...u32(0xda0), ...guarded(WRMSR, [0x0f, 0x30])]),
    ...(vmWrite === undefined
      ? []
      : [
          ...[0xb8, ...u32(8), 0x31, 0xc9, 0x48, 0xba, ...u64(vmWrite.field)], // TDG.VM.WR of this TD
          ...[0x49, 0xb8, ...u64(vmWrite.value), 0x49, 0xb9, ...u64(vmWrite.value), ...TDCALL],
          ...[0x48, 0x89, 0x04, 0x25, ...u32(NOTES + WRITTEN)],
        ]),
    ...[0xb8, ...u32(cr4 | CR4_PAE), ...guarded(CR4, [0x0f, 0x22, 0xe0])],
    ...[0x6a, mode64 ? CODE_64 : CODE_32, 0x68, ...u32(QUERY_CODE), 0x48, 0xcb], // far return
  ];
}

/** The same in 32-bit and in 64-bit mode. */
const loop = (count: number): number[] => [
  ...[0xbe, ...u32(QUERIES), 0xbd, ...u32(count), ...SHOW_CODE],
  ...[0x83, 0xc7, ROW, 0x8b, 0x06, 0x8b, 0x4e, 4, 0x83, 0xc6, 8, 0x0f, 0xa2],
  ...[0x89, 0x07, 0x89, 0x5f, 4, 0x89, 0x4f, 8, 0x89, 0x57, 12, 0x83, 0xed, 1, 0x75, 0xe3],
  ...[0xbf, ...u32(NOTES + DONE), 0xc7, 0x07, ...u32(1), 0x0f, 0x0b],
];

const HANDLER_CODE: Readonly<Record<number, readonly number[]>> = {
  // The end: TDG.VP.VMCALL<HLT>.
  [UD]: [0x31, 0xc0, 0xb9, ...u32(0xfc00), 0x45, 0x31, 0xd2, 0x41, 0xbb, ...u32(12), ...TDCALL, 0xeb, 0xfe],
  [GP]: [0x41, 0xc7, 0x07, ...u32(GP), 0x48, 0x83, 0xc4, 8, 0x4c, 0x01, 0x34, 0x24, 0x48, 0xcf],
  // TDG.VP.VEINFO.GET: the row gets the exit reason, 1, and the status; the guest goes on behind the instruction.
  [VE]: [
    ...[0xb8, ...u32(3), ...TDCALL, 0x89, 0x4f, 16, 0xc7, 0x47, 20, ...u32(1), 0x89, 0x47, 24],
    ...[0x44, 0x89, 0xd0, 0x48, 0x01, 0x04, 0x24, 0x48, 0xcf],
  ],
};
const HANDLER_SIZE = 64;

/** Its pages, by GPA. */
export function cpuidGuest(guest: CpuidGuest): Map<number, Uint8Array> {
  const low = new Uint8Array(END);
  const view = new DataView(low.buffer);
  view.setBigUint64(PML4, BigInt(PDPT) | 3n, true);
  view.setBigUint64(PDPT, BigInt(PD) | 3n, true);
  view.setBigUint64(PD, 0x83n, true);
  for (const [n, entry] of [0n, 0x00af_9b00_0000_ffffn, 0x00cf_9300_0000_ffffn, 0x00cf_9b00_0000_ffffn].entries()) {
    view.setBigUint64(TABLES + 8 * n, entry, true);
  }
  view.setUint16(TABLES + 0x300, 0x1f, true);
  view.setUint32(TABLES + 0x302, TABLES, true);
  view.setUint16(TABLES + 0x310, 0x1ff, true);
  view.setUint32(TABLES + 0x312, TABLES + 0x400, true);
  for (const [n, [vector, code]] of Object.entries(HANDLER_CODE).entries()) {
    const at = HANDLERS + HANDLER_SIZE * n;
    low.set(code, at);
    view.setBigUint64(TABLES + 0x400 + 16 * Number(vector), BigInt(at) | (8n << 16n) | (0x8en << 40n), true);
  }
  low.set(SAVE_AND_ENTER_LONG_MODE, START);
  low.set(setUp(guest), CODE);
  low.set(loop(guest.queries.length), QUERY_CODE);
  for (const [n, [leaf, subleaf]] of guest.queries.entries()) {
    view.setUint32(QUERIES + 8 * n, leaf, true);
    view.setUint32(QUERIES + 8 * n + 4, subleaf, true);
  }
  const pages = new Map<number, Uint8Array>();
  for (let gpa = PAGE; gpa < END; gpa += PAGE) pages.set(gpa, low.subarray(gpa, gpa + PAGE));
  const top = new Uint8Array(PAGE);
  top.set([0xe9, ...u32((START - (RESET + 5)) >>> 0)], RESET % PAGE);
  pages.set(RESET - (RESET % PAGE), top);
  return pages;
}

/** @param read private memory, within a page. */
export function cpuidNotes(read: (gpa: number, length: number) => Uint8Array, queries: number): CpuidNotes {
  const numbers = (gpa: number, count: number): number[] => {
    const { buffer, byteOffset, byteLength } = read(gpa, 4 * count).slice();
    const view = new DataView(buffer, byteOffset, byteLength);
    return Array.from({ length: count }, (_, i) => view.getUint32(4 * i, true));
  };
  const notes = numbers(NOTES, 12);
  const note = (offset: number): number => notes[offset / 4]!;
  const wide = (offset: number): bigint => BigInt(note(offset)) | (BigInt(note(offset + 4)) << 32n);
  const rows = Array.from({ length: queries }, (_, n) => {
    const row = numbers(ROWS + ROW * n, 7);
    if (row[5] === 0) return row.slice(0, 4);
    if (row[6] !== 0)
      throw new Error(`TDG.VP.VEINFO.GET of query ${n} gave 0x${row[6]!.toString(16)} in its lower half`);
    return { ve: row[4]! };
  });
  return {
    done: note(DONE) === 1,
    entry: {
      rbx: BigInt(note(RBX)),
      rcx: BigInt(note(RCX)),
      rdx: BigInt(note(RDX)),
      rsi: BigInt(note(RSI)),
      r8: wide(R8),
    },
    vmWrite: wide(WRITTEN),
    xsetbv: note(XSETBV),
    wrmsr: note(WRMSR),
    cr4: note(CR4),
    rows,
  };
}
