// The interpreter against the processor: random user programs of a few instructions run on a plain VM of /dev/kvm, at CPL 3
// where hardware executes them, and in the interpreter, from the same registers and memory.
import { createRequire } from 'node:module';
import type * as Iced from 'iced-x86';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { GuestMemory, KvmSregs, KvmSystem, KvmVcpu } from '../../src/kvm/index.js';
import { CpuState, takeKvmState } from '../../src/mock/guest/cpu/index.js';
import { execute } from '../../src/mock/guest/interpreter/execute.js';
import { Machine } from '../../src/mock/guest/interpreter/machine.js';
import { nativeStatus, openNative, readNativeCpuid } from '../../src/native/index.js';
import {
  CODE,
  DATA,
  DATA_SIZE,
  EXIT_PORT,
  KERNEL_STACK,
  longModeMemory,
  MEMORY_SIZE,
  USER_CODE_32,
  userRegs,
  userSregs,
  VECTOR_PORT,
} from './long-mode.js';
import { type CodeBits, GROUPS_OF_CODE, instruction, Random, vexInstruction } from './random-code.js';
import { Flat } from './user-program.js';

const iced = createRequire(import.meta.url)('iced-x86') as typeof Iced;
/** Instructions that the programs have: leaf, register, bit. */
const FEATURES = [
  [1, 'ecx', 22, 'MOVBE'],
  [1, 'ecx', 23, 'POPCNT'],
  [7, 'ebx', 3, 'BMI1'],
  [7, 'ebx', 8, 'BMI2'],
  [7, 'ebx', 19, 'ADX'],
  [0x8000_0001, 'ecx', 5, 'LZCNT'],
] as const;

/** Why the processor cannot be asked. */
function absent(): string | undefined {
  const { available, reason } = nativeStatus();
  if (!available) return reason;
  const lacking = FEATURES.filter(([leaf, register, bit]) => {
    const values = readNativeCpuid(leaf);
    return values === undefined || ((values[register] >>> bit) & 1) === 0;
  });
  return lacking.length === 0 ? undefined : `this processor has no ${lacking.map(([, , , name]) => name).join(', ')}`;
}

const reason = absent();
const available = reason === undefined;
if (!available) console.warn(`Skipped, random programs on the processor: ${reason}`);
const SEED = 0x7d5;
const PER_GROUP = 400;

const RFLAGS = { OF: 0x800, SF: 0x80, ZF: 0x40, AF: 0x10, CF: 1, PF: 4 } as const;
/** The library's flag numbers to the processor's. */
function flagBits(bits: number): number {
  let mask = 0;
  for (const [name, flag] of Object.entries(RFLAGS)) {
    if ((bits & iced.RflagsBits[name as keyof typeof RFLAGS]) !== 0) mask |= flag;
  }
  return mask;
}

interface Program {
  bits: CodeBits;
  code: number[];
  gprs: bigint[];
  flags: bigint;
  data: Uint8Array;
  /** Flags that are undefined at its end, and those that were at some point: where an exception ends it. */
  undefinedFlags: number;
  everUndefined: number;
}

interface Outcome {
  port: number;
  gprs: bigint[];
  flags: bigint;
  data: Uint8Array;
  cr2: bigint;
  frame: Uint8Array;
}

/** Flags that an instruction leaves undefined, out of those that were; undefined where it reads one of them. */
function undefinedAfter(bytes: number[], before: number, bits: CodeBits): number | undefined {
  const decoder = new iced.Decoder(bits, Uint8Array.from(bytes), 0);
  const insn = decoder.decode();
  try {
    if (insn.isInvalid || insn.length !== bytes.length) return before;
    const read = flagBits(insn.rflagsRead) | (/^(Pushf|Lahf)/.test(iced.Mnemonic[insn.mnemonic] as string) ? 0x8d5 : 0);
    if ((read & before) !== 0) return undefined;
    // What is written only by some counts of a shift stays undefined where it was.
    const counted = /^(Sh|Sa|Ro|Rc)/.test(iced.Mnemonic[insn.mnemonic] as string);
    const kept = counted ? before : before & ~flagBits(insn.rflagsModified);
    return kept | flagBits(insn.rflagsUndefined);
  } finally {
    insn.free();
    decoder.free();
  }
}

const XMM = [0, 1, 2, 3, 4, 5, 6, 7];
const LOAD_XMM = XMM.flatMap((n) => [0xf3, 0x0f, 0x6f, 0x44 | (n << 3), 0x24, n * 16]); // movdqu xmm, [rsp + n]
const STORE_XMM = XMM.flatMap((n) => [0xf3, 0x0f, 0x7f, 0x04 | (n << 3), 0x25, n * 16, 0xc0, 0, 0]);

function program(random: Random, group: string, bits: CodeBits): Program {
  const code: number[] = group === 'sse' ? [...LOAD_XMM] : [];
  // 63 is another instruction in 32-bit code.
  const templates = GROUPS_OF_CODE[group]?.filter(({ opcode }) => bits === 64 || opcode[0] !== 0x63);
  let undefinedFlags = 0;
  let everUndefined = 0;
  for (let left = 1 + random.below(5); left > 0; ) {
    let bytes = templates === undefined ? vexInstruction(random) : instruction(random, random.pick(templates), bits);
    if (group === 'sse') bytes = bytes.map((byte, n) => ((byte & 0xf0) === 0x40 && n < 2 ? byte & 0x4a : byte));
    const after = undefinedAfter(bytes, undefinedFlags, bits);
    if (after === undefined) continue;
    undefinedFlags = after;
    everUndefined |= after;
    code.push(...bytes);
    left--;
  }
  // Of a repeated comparison that faults, Intel's processors leave the flags as they were before it, AMD's do not.
  if (group === 'strings') everUndefined = flagBits(0xffff_ffff);
  if (group === 'sse') code.push(...STORE_XMM);
  code.push(0xe6, EXIT_PORT);
  const gprs = Array.from({ length: 16 }, () => random.value());
  // Pointers into the data, aligned or not, and a small index.
  for (const n of [3, 4, 5, 6, 7]) gprs[n] = BigInt(DATA + 0x400 + random.below(0x1400));
  if (random.chance(60)) for (const n of [3, 5, 6, 7]) gprs[n] = (gprs[n] as bigint) & ~15n;
  gprs[4] = (gprs[4] as bigint) & ~7n;
  gprs[9] = BigInt(random.below(32));
  if (group === 'sse') {
    // Most operands have to be aligned.
    for (const n of [3, 4, 5, 6, 7]) gprs[n] = (gprs[n] as bigint) & ~15n;
    gprs[9] = (gprs[9] as bigint) & ~15n;
  }
  gprs[2] = bits === 32 ? BigInt(random.below(32)) : (gprs[2] as bigint);
  if (group === 'strings') gprs[1] = BigInt(random.below(random.chance(20) ? 4000 : 12));
  const flags = BigInt(random.u32() & 0x8d5) | (random.chance(20) ? 0x400n : 0n);
  // What the upper halves hold is nothing that 32-bit code can see.
  if (bits === 32) for (const [n, value] of gprs.entries()) gprs[n] = BigInt.asUintN(32, value);
  return { bits, code, gprs, flags, data: Uint8Array.from(random.bytes(DATA_SIZE)), undefinedFlags, everUndefined };
}

class OnKvm {
  readonly #system: KvmSystem = openNative();
  readonly #memory: GuestMemory;
  readonly #vcpu: KvmVcpu;
  readonly sregs: Readonly<Record<CodeBits, KvmSregs>>;

  constructor() {
    const vm = this.#system.createVm(0);
    vm.setTssAddr(0xfffb_d000);
    this.#memory = this.#system.createMemory(MEMORY_SIZE);
    this.#memory.write(0, longModeMemory());
    vm.setUserMemoryRegion({ slot: 0, gpa: 0n, size: MEMORY_SIZE, memory: this.#memory });
    this.#vcpu = vm.createVcpu(0);
    const sregs = userSregs(this.#vcpu.getSregs());
    this.sregs = { 64: sregs, 32: { ...sregs, cs: { ...sregs.cs, selector: USER_CODE_32, db: 1, l: 0 } } };
  }

  async run({ bits, code, gprs, flags, data }: Program): Promise<Outcome> {
    this.#memory.write(CODE, Uint8Array.from(code));
    this.#memory.write(DATA, data);
    this.#memory.write(KERNEL_STACK, new Uint8Array(0x1000));
    this.#vcpu.setSregs(this.sregs[bits]);
    this.#vcpu.setRegs(userRegs(gprs, flags));
    const exit = await this.#vcpu.run({ signal: AbortSignal.timeout(5000) });
    if (exit.reason !== 'io') throw new Error(`the processor left with ${exit.reason}`);
    const { rip: _rip, rflags, rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, ...upper } = this.#vcpu.getRegs();
    return {
      port: exit.port,
      gprs: [rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, ...Object.values(upper)],
      flags: rflags,
      data: this.#memory.read(DATA, DATA_SIZE),
      cr2: this.#vcpu.getSregs().cr2,
      frame: this.#memory.read(KERNEL_STACK + 0xfd0, 48),
    };
  }

  close(): void {
    this.#system.close();
  }
}

function onInterpreter({ code, gprs, flags, data }: Program, sregs: KvmSregs): Outcome {
  const memory = new Flat();
  memory.bytes.set(code, CODE);
  memory.bytes.set(data, DATA);
  const state = new CpuState();
  takeKvmState(state, userRegs(gprs, flags), sregs);
  const event = execute(new Machine(state, memory), 100_000);
  if (event?.kind !== 'io')
    throw new Error(`the interpreter left with ${event?.kind} ${event?.kind === 'stuck' && event.why}`);
  return {
    port: event.port,
    gprs: [...state.gprs],
    flags: state.rflags,
    data: memory.bytes.slice(DATA, DATA + DATA_SIZE),
    cr2: state.cr2,
    frame: memory.bytes.slice(KERNEL_STACK + 0xfd0, KERNEL_STACK + 0x1000),
  };
}

function disassembly({ code, bits }: Program): string {
  const decoder = new iced.Decoder(bits, Uint8Array.from(code), 0);
  decoder.ip = BigInt(CODE);
  const lines: string[] = [];
  while (decoder.canDecode) lines.push(decoder.decode().toString());
  return lines.join('; ');
}

const hex = (value: bigint): string => `0x${value.toString(16)}`;

/** What is compared: where an exception ended it, its frame; flags without the undefined ones. */
function comparable({ port, gprs, flags, data, cr2, frame }: Outcome, made: Program): Record<string, unknown> {
  const view = new DataView(frame.slice().buffer);
  const faulted = port !== EXIT_PORT;
  // RF is not the program’s; IOPL reads back as 0 on a KVM without VMX or SVM (kvm_pvm), though it is obeyed.
  const mask = BigInt(0x3c_cfff & ~(faulted ? made.everUndefined : made.undefinedFlags));
  const words = Array.from({ length: 6 }, (_, n) => view.getBigUint64(8 * n, true));
  words[3] = (words[3] as bigint) & mask; // RFLAGS
  return {
    ended: faulted ? `vector ${port - VECTOR_PORT}` : 'exit',
    gprs: gprs.map(hex),
    flags: hex(flags & mask),
    data: Buffer.from(data).toString('hex'),
    cr2: port === VECTOR_PORT + 14 ? hex(cr2) : '',
    frame: faulted ? words.map(hex) : [],
  };
}

describe.skipIf(!available)(
  `random programs on the processor and in the interpreter ${available ? '' : `(${reason})`}`,
  () => {
    let processor: OnKvm;
    beforeAll(() => {
      processor = new OnKvm();
    });
    afterAll(() => processor.close());

    it.each([
      ...['arithmetic', 'moves', 'shifts', 'bits', 'bit manipulation extensions', 'strings', 'sse'].map(
        (group) => [group, 64] as const,
      ),
      ...['arithmetic', 'moves', 'shifts'].map((group) => [group, 32] as const),
    ])(`${PER_GROUP} of %s in %i-bit code end alike: registers, flags, memory, exceptions`, async (group, bits) => {
      const random = new Random(SEED);
      const differences: string[] = [];
      let unverified = 0;
      for (let n = 0; n < PER_GROUP; n++) {
        const made = program(random, group, bits);
        const real = comparable(await processor.run(made), made);
        let ours: Record<string, unknown>;
        try {
          ours = comparable(onInterpreter(made, processor.sregs[made.bits]), made);
        } catch (error) {
          differences.push(`${n}: ${disassembly(made)}: ${(error as Error).message}`);
          continue;
        }
        const wrong = Object.keys(real).filter((key) => String(real[key]) !== String(ours[key]));
        if (wrong.length === 0) continue;
        // A KVM without VMX or SVM (kvm_pvm) emulates what raised #GP and all of 32-bit code, and makes #UD of what its
        // emulator does not know.
        const emulated = bits === 32 || ours['ended'] === 'vector 13';
        if (real['ended'] === 'vector 6' && emulated && ++unverified <= PER_GROUP / 4) continue;
        const shown = wrong.map((key) =>
          key === 'data' ? 'data' : `${key}: processor ${String(real[key])}, interpreter ${String(ours[key])}`,
        );
        differences.push(
          `${n}: ${disassembly(made)}\n   from ${made.gprs.map(hex)} flags ${hex(made.flags)}\n   ${shown.join('\n   ')}`,
        );
      }
      expect(differences.slice(0, 6).join('\n'), `${differences.length} differ`).toBe('');
    });
  },
);
