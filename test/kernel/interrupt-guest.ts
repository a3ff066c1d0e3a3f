// A guest of 32 KiB below 4 GiB that takes interrupts: page tables, an IDT, a handler that counts and says EOI, a #VE handler
// that turns HLT into TDG.VP.VMCALL<HLT>, and a program for each vCPU.

const u32 = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);
const u64 = (value: bigint): number[] => [...u32(Number(value & 0xffff_ffffn)), ...u32(Number(value >> 32n))];

export const IMAGE_GPA = 0xffff_8000;
export const IMAGE_SIZE = 0x8000;
const [PML4, PDPT, DIRECTORY, TABLES] = [0xffff_8000, 0xffff_9000, 0xffff_a000, 0xffff_b000];
const CODE = 0xffff_c000;
const SECOND = 0xffff_c400;
const COUNT_HANDLER = 0xffff_c800;
const VE_HANDLER = 0xffff_c880;
const STACKS = 0xffff_f000;
const TOP = 0xffff_f000;
/** Offsets from RBX, which is TABLES. */
const IDT = 0x400;
const COUNTER = 0x2000;
const FLAG = 0x2010;

const TDCALL = [0x66, 0x0f, 0x01, 0xcc];
export const STI = [0xfb];
export const CLI = [0xfa];
export const HLT = [0xf4];
/** Ends the instruction before: STI holds interrupts back for one. */
export const NOP = [0x90];
export const COUNT_VECTOR = 0x40;
export const OTHER_VECTOR = 0x50;
export const EXIT_PORT = 0xf4;

/** TDG.VP.VMCALL of an instruction's leaf; R10 to R15 are passed. */
const vmcall = (leaf: number, r12: number, r13 = 0n, r14 = 0): number[] => [
  ...[0x31, 0xc0, 0xb9, ...u32(0xfc00)], // xor eax, eax; mov ecx, mask
  ...[0x45, 0x31, 0xd2, 0x41, 0xbb, ...u32(leaf)], // xor r10d, r10d; mov r11d
  ...[0x41, 0xbc, ...u32(r12), 0x49, 0xbd, ...u64(r13), 0x41, 0xbe, ...u32(r14)],
  ...TDCALL,
];
export const wrmsrCall = (msr: number, value: bigint): number[] => vmcall(32, msr, value);
export const hltCall = (interruptsBlocked = 0): number[] => vmcall(12, interruptsBlocked);
export const nativeWrmsr = (msr: number, value: number): number[] => [
  ...[0xb9, ...u32(msr), 0xb8, ...u32(value), 0x31, 0xd2, 0x0f, 0x30],
];
/** Writes how many interrupts were taken to the exit port. */
export const tellCount: number[] = [0x44, 0x8b, 0xbb, ...u32(COUNTER), ...vmcall(30, 1, 1n, EXIT_PORT)];
export const spin: number[] = [0xeb, 0xfe];
/** Waits with interrupts as they are until `n` were taken. */
export const waitForCount = (n: number): number[] => [0x83, 0xbb, ...u32(COUNTER), n, 0x72, 0xf7]; // cmp; jb back
export const setFlag: number[] = [0xff, 0x83, ...u32(FLAG)];
export const waitForFlag: number[] = [0x83, 0xbb, ...u32(FLAG), 0, 0x74, 0xf7];

/** inc dword [counter]; wrmsr(EOI, 0); iretq, with nothing else changed. */
const COUNT = [
  ...[0x50, 0x51, 0x52, 0xff, 0x83, ...u32(COUNTER)],
  ...[0xb9, ...u32(0x80b), 0x31, 0xc0, 0x31, 0xd2, 0x0f, 0x30],
  ...[0x5a, 0x59, 0x58, 0x48, 0xcf],
];
/** TDG.VP.VEINFO.GET; TDG.VP.VMCALL<HLT>; behind the HLT. */
const VE = [0xb8, 3, 0, 0, 0, ...TDCALL, ...hltCall(), 0x48, 0x83, 0x04, 0x24, 0x01, 0x48, 0xcf];

const START_64 = [
  ...[0x31, 0xc0, 0x8e, 0xd0, 0x8e, 0xd8, 0x8e, 0xc0], // null ss, ds, es
  ...[0x48, 0xbb, ...u64(BigInt(TABLES))], // mov rbx
  ...[0x0f, 0x01, 0x9b, ...u32(0x110)], // lidt [rbx + 0x110]
  ...[0xbc, ...u32(STACKS)], // mov esp
  ...[0x85, 0xf6, 0x74, 0x0c], // test esi, esi: VCPU_INDEX; jz first
  ...[0xbc, ...u32(STACKS - 0x800)],
  ...[0xb8, ...u32(SECOND), 0xff, 0xe0], // mov eax, SECOND; jmp rax
];
const ENTER_LONG_MODE = [
  ...[0x0f, 0x01, 0x15, ...u32(TABLES + 0x100)], // lgdt
  ...[0x0f, 0x20, 0xe0, 0x83, 0xc8, 0x20, 0x0f, 0x22, 0xe0], // CR4.PAE
  ...[0xb8, ...u32(PML4), 0x0f, 0x22, 0xd8], // CR3
  ...[0x0f, 0x20, 0xc0, 0x0d, ...u32(0x8000_0000), 0x0f, 0x22, 0xc0], // CR0.PG
  ...[0xea, ...u32(CODE), 0x08, 0x00], // far jump
];

/** The image for IMAGE_GPA. @param programs of vCPU 0, and of vCPU 1. */
export function interruptGuest(first: number[], second: number[] = spin): Uint8Array {
  const image = new Uint8Array(IMAGE_SIZE);
  const view = new DataView(image.buffer);
  const at = (gpa: number) => gpa - IMAGE_GPA;
  view.setBigUint64(at(PML4), BigInt(PDPT) | 3n, true);
  view.setBigUint64(at(PDPT) + 24, BigInt(DIRECTORY) | 3n, true);
  for (let i = 0; i < 512; i++)
    view.setBigUint64(at(DIRECTORY) + 8 * i, BigInt(0xc000_0000 + i * 0x20_0000) | 0x83n, true);
  view.setBigUint64(at(TABLES) + 8, 0x00af_9b00_0000_ffffn, true);
  view.setUint16(at(TABLES) + 0x100, 0x0f, true);
  view.setUint32(at(TABLES) + 0x102, TABLES, true);
  view.setUint16(at(TABLES) + 0x110, 0x7ff, true);
  view.setBigUint64(at(TABLES) + 0x112, BigInt(TABLES + IDT), true);
  const gate = (vector: number, handler: number): void => {
    const offset = BigInt(handler);
    const entry = (offset & 0xffffn) | (8n << 16n) | (0x8en << 40n) | ((offset >> 16n) << 48n);
    view.setBigUint64(at(TABLES) + IDT + 16 * vector, entry, true);
  };
  for (const vector of [COUNT_VECTOR, OTHER_VECTOR, 2]) gate(vector, COUNT_HANDLER);
  gate(20, VE_HANDLER);
  image.set([...START_64, ...first], at(CODE));
  image.set(second, at(SECOND));
  image.set(COUNT, at(COUNT_HANDLER));
  image.set(VE, at(VE_HANDLER));
  image.set(ENTER_LONG_MODE, at(TOP));
  image.set([0xe9, 0x0b, 0xf0, 0xff, 0xff], at(TOP) + 0xff0);
  return image;
}
