// A guest that does a little of everything that deprivileging concerns, once emulated and once deprivileged.
import { PAGE_SIZE } from '../../../../kvm/constants.js';
import type { KvmSystem } from '../../../../kvm/system.js';
import type { GuestSpace } from '../../engine.js';
import type { Abilities } from '../probe.js';
import { KvmTd } from '../td.js';
import type { KvmEngineVcpu } from '../vcpu.js';

const CODE = 0x1000;
const UD_HANDLER = 0x1400;
const PF_HANDLER = 0x1500;
const DATA = 0x2000;
const IDT = 0x3000;
const GDT = 0x3f00;
const STACK_TOP = 0x5000;
/** Pages to write and to read, which nothing else touches. */
const WRITTEN = 0x6000;
const READ = 0x7000;
const PML4 = 0x8000;
const [PDPT, DIRECTORY, PAGE_TABLE] = [0x9000, 0xa000, 0xb000];
const END = 0xc000;
/** Not mapped by the guest's tables. */
const NOWHERE = 0x40_0000;

const u32 = (value: number): number[] => [value, value >> 8, value >> 16, value >> 24].map((byte) => byte & 0xff);
/** ModRM and SIB of an absolute address, for register `reg` or an opcode extension. */
const at = (address: number, reg = 0): number[] => [0x04 | (reg << 3), 0x25, ...u32(address)];

const PROGRAM = [
  ...[0x0f, 0x01, ...at(DATA, 3)], // lidt
  ...[0x0f, 0x20, 0xc0, 0x49, 0x89, 0xc0], // mov rax, cr0; mov r8, rax
  ...[0x0f, 0x20, 0xe0, 0x49, 0x89, 0xc1], // mov rax, cr4; mov r9, rax
  ...[0x0f, 0x20, 0xd8, 0x49, 0x89, 0xc2], // mov rax, cr3; mov r10, rax
  ...[0xfb, 0x90, 0x9c, 0x41, 0x5b], // sti; nop; pushfq; pop r11
  ...[0x31, 0xc0, 0xfa, 0x9c, 0x41, 0x5c], // xor eax, eax; cli; pushfq; pop r12
  ...[0x68, ...u32(0xad7), 0x9d, 0x9c, 0x5f], // push OF, DF, IF and the others; popfq; pushfq; pop rdi
  ...[0xfc, 0x8c, 0xc8, 0x49, 0x89, 0xc5], // cld; mov eax, cs; mov r13, rax
  ...[0x8c, 0xd0, 0x49, 0x89, 0xc6], // mov eax, ss; mov r14, rax
  ...[0x0f, 0x01, ...at(DATA + 0x40, 1)], // sidt
  ...[0x0f, 0x01, ...at(DATA + 0x50, 0)], // sgdt
  ...[0x0f, 0x0b], // ud2
  ...[0x8a, ...at(NOWHERE)], // mov al, [NOWHERE]
  ...[0x88, ...at(WRITTEN)], // mov [WRITTEN], al
  ...[0x8a, ...at(READ)], // mov al, [READ]
  ...[0x80, ...at(PAGE_TABLE + 8 * (WRITTEN / PAGE_SIZE), 4), 0xbf], // and byte [entry of WRITTEN], not dirty
  ...[0x0f, 0x01, ...at(WRITTEN, 7)], // invlpg
  ...[0x8a, ...at(WRITTEN)], // mov al, [WRITTEN]
  ...[0xb9, ...u32(0x1000), 0xf7, 0xe1, 0xff, 0xc9, 0x75, 0xfa], // mov ecx, 4096; again: mul ecx; dec ecx; jnz again
  ...[0x41, 0x0f, 0x22, 0xda], // mov cr3, r10
  0xf4,
];
/** inc [DATA + 0x60]; add qword [rsp], 2; iretq */
const ON_UD = [0xff, ...at(DATA + 0x60), 0x48, 0x83, 0x04, 0x24, 2, 0x48, 0xcf];
/** mov rbx, cr2; pop rsi; add qword [rsp], 7; iretq */
const ON_PF = [0x0f, 0x20, 0xd3, 0x5e, 0x48, 0x83, 0x04, 0x24, 7, 0x48, 0xcf];

function memory(): Uint8Array {
  const bytes = new Uint8Array(END);
  const view = new DataView(bytes.buffer);
  const word = (offset: number, value: bigint): void => view.setBigUint64(offset, value, true);
  bytes.set(PROGRAM, CODE);
  bytes.set(ON_UD, UD_HANDLER);
  bytes.set(ON_PF, PF_HANDLER);
  view.setUint16(DATA, 0xfff, true);
  word(DATA + 2, BigInt(IDT));
  for (const [vector, handler] of [
    [6, UD_HANDLER],
    [14, PF_HANDLER],
  ] as const) {
    word(IDT + 16 * vector, BigInt(handler) | (8n << 16n) | (0x8en << 40n));
  }
  word(GDT + 8, 0x00af_9b00_0000_ffffn);
  word(GDT + 16, 0x00cf_9300_0000_ffffn);
  for (const [table, entry] of [
    [PML4, PDPT],
    [PDPT, DIRECTORY],
    [DIRECTORY, PAGE_TABLE],
  ] as const) {
    word(table, BigInt(entry) | 3n);
  }
  for (let n = 0; n < END / PAGE_SIZE; n++) word(PAGE_TABLE + 8 * n, BigInt(n * PAGE_SIZE) | 3n);
  return bytes;
}

function start({ state }: KvmEngineVcpu): void {
  state.cr0 = 0x8001_0033;
  state.cr3 = PML4;
  state.cr4 = 0x620;
  state.efer = 0xd01;
  state.cs.set(8, 0, 0xffff_ffff, 0xa09b);
  for (const name of ['ds', 'es', 'fs', 'gs', 'ss'] as const) state[name].set(16, 0, 0xffff_ffff, 0xc093);
  state.gdtr.base = GDT;
  state.gdtr.limit = 0x17;
  state.setSignedGpr(4, STACK_TOP);
  state.ip = CODE;
}

/** What the guest leaves behind, as text. */
async function outcome(system: KvmSystem, abilities: Abilities, deprivilege: boolean): Promise<string> {
  const bytes = memory();
  const space: GuestSpace = {
    sharedBit: 2 ** abilities.sharedBits[0]!,
    privatePage: (gpa) => ({ state: 'mapped', bytes: bytes.subarray(gpa, gpa + PAGE_SIZE) }),
    readShared: () => undefined,
    writeShared: () => false,
    cpuid: () => undefined,
  };
  const td = new KvmTd(system, space, abilities, false, { deprivileges: deprivilege });
  try {
    td.pagesMapped(0, END);
    const vcpu = td.createVcpu(0, new BigUint64Array(16));
    start(vcpu);
    const event = await vcpu.run(AbortSignal.timeout(2000));
    const registers = [...vcpu.gprs, vcpu.rip, vcpu.rflags].map((value) => value.toString(16));
    const pages = [DATA, STACK_TOP - PAGE_SIZE, WRITTEN, PML4, PDPT, DIRECTORY, PAGE_TABLE];
    const memories = pages.map((gpa) => Buffer.from(td.readPrivate(gpa, PAGE_SIZE)).toString('base64'));
    return JSON.stringify([event, registers, memories]);
  } finally {
    td.close();
  }
}

/** Whether a guest cannot tell deprivileged execution from KVM's emulation. Takes some milliseconds. */
export async function isFaithful(system: KvmSystem, abilities: Abilities): Promise<boolean> {
  return (await outcome(system, abilities, false)) === (await outcome(system, abilities, true));
}
