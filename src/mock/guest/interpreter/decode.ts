import { iced } from './iced.js';

/** Encodings of segment registers. */
export const SEGMENTS = ['es', 'cs', 'ss', 'ds', 'fs', 'gs'] as const;
export type SegmentName = (typeof SEGMENTS)[number];

export type Operand =
  | {
      kind: 'reg';
      /** 'gpr' of 8, 16, 32 or 64 bits; `number` is the encoding, for AH to BH that of AX to BX. */
      file: 'gpr' | 'segment' | 'cr' | 'dr' | 'xmm' | 'other';
      number: number;
      bits: number;
      /** AH, CH, DH, BH. */
      highByte: boolean;
    }
  | MemoryOperand
  | { kind: 'immediate'; value: bigint }
  | { kind: 'near'; target: bigint }
  | { kind: 'far'; selector: number; offset: number }
  /** Of string instructions: at (E)SI or (E)DI. */
  | { kind: 'string'; source: boolean; segment: SegmentName; addressBits: number };

export interface MemoryOperand {
  kind: 'memory';
  /** Bytes; 0 where the decoder does not say. */
  size: number;
  segment: SegmentName;
  /** Encoding, or -1. A RIP-relative operand has the address as its displacement. */
  base: number;
  index: number;
  scale: number;
  displacement: bigint;
  addressBits: number;
}

/** An instruction as plain data. */
export interface Insn {
  /** Mnemonic, as iced spells it: `Cmpxchg8b`. */
  name: string;
  /** Mnemonic with its operands: `Add_rm32_r32`. */
  code: string;
  length: number;
  operands: readonly Operand[];
  /** F3, as REP or REPE. */
  rep: boolean;
  repne: boolean;
  lock: boolean;
  /** Of the code segment. */
  bits: number;
  /** Bytes that it adds to the stack pointer. */
  stack: number;
}

const STRING_BITS = { RSI: 64, ESI: 32, SI: 16, RDI: 64, EDI: 32, DI: 16 } as const;

type Library = ReturnType<typeof iced>;
type Instruction = InstanceType<Library['Instruction']>;

function registerFile(name: string): 'segment' | 'cr' | 'dr' | 'xmm' | 'other' {
  if (/^[ECSDFG]S$/.test(name)) return 'segment';
  if (/^CR\d/.test(name)) return 'cr';
  if (/^DR\d/.test(name)) return 'dr';
  return /^XMM\d/.test(name) ? 'xmm' : 'other';
}

/** Library numbers of AL, AX, EAX and RAX begin four runs: 20 bytes (AH to BH after the first four), then 16 of each size. */
function gpr(number: number): { number: number; bits: number; highByte: boolean } | undefined {
  const { Register } = iced();
  if (number < Register.AL || number > Register.R15) return undefined;
  if (number >= Register.RAX) return { number: number - Register.RAX, bits: 64, highByte: false };
  if (number >= Register.EAX) return { number: number - Register.EAX, bits: 32, highByte: false };
  if (number >= Register.AX) return { number: number - Register.AX, bits: 16, highByte: false };
  const byte = number - Register.AL;
  if (byte >= 4 && byte < 8) return { number: byte - 4, bits: 8, highByte: true };
  return { number: byte < 4 ? byte : byte - 4, bits: 8, highByte: false };
}

function register(number: number): Operand {
  const general = gpr(number);
  if (general !== undefined) return { kind: 'reg', file: 'gpr', ...general };
  const name = iced().Register[number] as string;
  const file = registerFile(name);
  const encoding =
    file === 'segment' ? SEGMENTS.indexOf(name.toLowerCase() as SegmentName) : Number(name.replace(/\D/g, ''));
  return { kind: 'reg', file, number: encoding, bits: file === 'xmm' ? 128 : 64, highByte: false };
}

const segmentName = (number: number): SegmentName => (iced().Register[number] as string).toLowerCase() as SegmentName;

function memory(insn: Instruction, bits: number): MemoryOperand {
  const { Register, MemorySizeExt } = iced();
  const base = insn.memoryBase;
  const relative = base === Register.RIP || base === Register.EIP;
  const baseGpr = gpr(base);
  const indexGpr = gpr(insn.memoryIndex);
  const displacementBits = insn.memoryDisplSize === 8 ? 64 : insn.memoryDisplSize === 2 ? 16 : insn.memoryDisplSize * 8;
  // Without registers, the displacement's size says how wide the address is.
  const plain = displacementBits === 0 || displacementBits === 8 ? bits : displacementBits;
  const addressBits = relative ? (base === Register.RIP ? 64 : 32) : (baseGpr?.bits ?? indexGpr?.bits ?? plain);
  return {
    kind: 'memory',
    size: MemorySizeExt.size(insn.memorySize),
    segment: segmentName(insn.memorySegment),
    base: relative ? -1 : (baseGpr?.number ?? -1),
    index: indexGpr?.number ?? -1,
    scale: insn.memoryIndexScale,
    displacement: insn.memoryDisplacement,
    addressBits,
  };
}

function operand(insn: Instruction, n: number, bits: number): Operand {
  const { OpKind } = iced();
  const kind = insn.opKind(n);
  const name = OpKind[kind] as string;
  if (kind === OpKind.Register) return register(insn.opRegister(n));
  if (kind === OpKind.Memory) return memory(insn, bits);
  if (name.startsWith('Near')) return { kind: 'near', target: insn.nearBranchTarget };
  if (kind === OpKind.FarBranch16) return { kind: 'far', selector: insn.farBranchSelector, offset: insn.farBranch16 };
  if (kind === OpKind.FarBranch32) return { kind: 'far', selector: insn.farBranchSelector, offset: insn.farBranch32 };
  if (name.startsWith('Immediate')) return { kind: 'immediate', value: BigInt.asUintN(64, insn.immediate(n)) };
  const [, which] = /(?:MemorySeg|MemoryES)(\w+)/.exec(name) as unknown as [string, keyof typeof STRING_BITS];
  const es = name.startsWith('MemoryES');
  return {
    kind: 'string',
    source: which.endsWith('SI'),
    segment: es ? 'es' : segmentName(insn.memorySegment),
    addressBits: STRING_BITS[which],
  };
}

/** What decoding bytes gives: an instruction, none (#UD), or the wish for more bytes. */
export type Decoded = Insn | 'invalid' | 'more bytes';

/** @param ip of the first byte. @param bits 16, 32 or 64: of the code segment. */
export function decode(bytes: Uint8Array, ip: bigint, bits: number): Decoded {
  const { Decoder, DecoderError, Mnemonic, Code } = iced();
  const decoder = new Decoder(bits, bytes, 0);
  decoder.ip = ip;
  const insn = decoder.decode();
  try {
    if (insn.isInvalid) return decoder.lastError === DecoderError.NoMoreBytes ? 'more bytes' : 'invalid';
    return {
      name: Mnemonic[insn.mnemonic] as string,
      code: Code[insn.code] as string,
      length: insn.length,
      operands: Array.from({ length: insn.opCount }, (_, n) => operand(insn, n, bits)),
      rep: insn.hasRepPrefix || insn.hasRepePrefix,
      repne: insn.hasRepnePrefix,
      lock: insn.hasLockPrefix,
      bits,
      stack: insn.stackPointerIncrement,
    };
  } finally {
    insn.free();
    decoder.free();
  }
}

/** The instruction in words, or its bytes where it is none. */
export function disassemble(bytes: Uint8Array, ip: bigint, bits: number): string {
  const { Decoder, FastFormatter } = iced();
  const decoder = new Decoder(bits, bytes, 0);
  decoder.ip = ip;
  const insn = decoder.decode();
  const formatter = new FastFormatter();
  try {
    return insn.isInvalid ? '(no instruction)' : formatter.format(insn);
  } finally {
    formatter.free();
    insn.free();
    decoder.free();
  }
}
