import { PAGE_SIZE } from '../../../kvm/constants.js';
import { type CpuState, type PhysicalMemory, translate } from '../cpu/index.js';
import type { GuestSpace } from '../engine.js';
import { type Decoded, decode, type Insn, type Operand } from '../interpreter/decode.js';
import type { PrivateMemory } from './private-memory.js';

/** The TD's physical memory for the processor in software: private as the guest sees it, and the host's. */
export class SoftwareMemory implements PhysicalMemory {
  constructor(
    private readonly memory: PrivateMemory,
    private readonly space: GuestSpace,
  ) {}

  isShared(gpa: number): boolean {
    return Math.floor(gpa / this.space.sharedBit) % 2 === 1;
  }

  read(gpa: number, length: number): Uint8Array | undefined {
    if (this.isShared(gpa)) return this.space.readShared(gpa - this.space.sharedBit, length);
    return this.memory.isMapped(gpa) ? this.memory.read(gpa, length) : undefined;
  }

  write(gpa: number, bytes: Uint8Array): boolean {
    if (this.isShared(gpa)) return this.space.writeShared(gpa - this.space.sharedBit, bytes);
    if (!this.memory.isMapped(gpa)) return false;
    this.memory.write(gpa, bytes);
    return true;
  }
}

/** Of an instruction, its prefixes included. */
export const MAX_INSN = 15;

/** Looks at the guest without a trace: no Accessed bit is set, nothing is mapped. */
export class Observer {
  readonly #memory: PhysicalMemory;

  constructor(memory: PhysicalMemory) {
    this.#memory = { read: (gpa, length) => memory.read(gpa, length), write: () => true };
  }

  /** The GPA behind a linear address. @throws GuestFault; EptViolation. */
  gpa(state: CpuState, linear: number, access: 'read' | 'write' | 'execute'): number {
    return translate(state, this.#memory, linear, access);
  }

  /** The same, or undefined where the guest would fault. */
  find(state: CpuState, linear: number, access: 'read' | 'write' | 'execute'): number | undefined {
    try {
      return this.gpa(state, linear, access);
    } catch {
      return undefined;
    }
  }

  /** Bytes from `linear` on, as many of `length` as can be had. */
  bytes(state: CpuState, linear: number, length: number): Uint8Array {
    const found = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const at = wrap(state, linear + done);
      const part = Math.min(length - done, PAGE_SIZE - (((at % PAGE_SIZE) + PAGE_SIZE) % PAGE_SIZE));
      const gpa = this.find(state, at, 'execute');
      const bytes = gpa === undefined ? undefined : this.#memory.read(gpa, part);
      if (bytes === undefined) return found.subarray(0, done);
      found.set(bytes, done);
      done += part;
    }
    return found;
  }
}

const wrap = (state: CpuState, linear: number): number => (state.in64 ? linear : linear >>> 0);

export const codeBits = (state: CpuState): 16 | 32 | 64 => (state.in64 ? 64 : state.cs.big ? 32 : 16);

/** Linear address of the instruction pointer. */
export const codeAddress = (state: CpuState, ip: number = state.ip): number =>
  state.in64 ? ip : (state.cs.base + ip) >>> 0;

export const decodeAt = (state: CpuState, bytes: Uint8Array, ip: number): Decoded =>
  decode(bytes, BigInt.asUintN(64, BigInt(ip)), codeBits(state));

const SIZE_OF_LETTER: Readonly<Record<string, number>> = { b: 1, w: 2, d: 4, q: 8 };
const STRING_NAME = /^(?:Stos|Movs|Ins|Outs|Lods|Cmps|Scas)([bwdq])$/;

/** Bytes of an element of a string instruction, 0 for any other. */
export const stringSize = ({ name }: Insn): number => SIZE_OF_LETTER[STRING_NAME.exec(name)?.[1] ?? ''] ?? 0;

/** Linear address of an operand in memory; of a string instruction before it has moved on. */
export function operandAddress(state: CpuState, operand: Operand): number | undefined {
  if (operand.kind === 'string') {
    const mask = operand.addressBits === 64 ? -1n : (1n << BigInt(operand.addressBits)) - 1n;
    const pointer = (state.gprs[operand.source ? 6 : 7] as bigint) & mask;
    return linearOf(state, operand.segment, pointer);
  }
  if (operand.kind !== 'memory') return undefined;
  const { base, index, scale, displacement, addressBits } = operand;
  const value = (n: number): bigint => (n < 0 ? 0n : (state.gprs[n] as bigint));
  const sum = value(base) + value(index) * BigInt(scale) + displacement;
  return linearOf(state, operand.segment, BigInt.asUintN(addressBits, sum));
}

function linearOf(state: CpuState, segment: 'es' | 'cs' | 'ss' | 'ds' | 'fs' | 'gs', offset: bigint): number {
  const hasBase = !state.in64 || segment === 'fs' || segment === 'gs';
  const sum = offset + (hasBase ? BigInt(state[segment].base) : 0n);
  return state.in64 ? Number(BigInt.asIntN(64, sum)) : Number(BigInt.asUintN(32, sum));
}

/** Memory that an instruction may write, apart from what it reads: its destination, the stack. */
export function writesBesides(state: CpuState, insn: Insn, observer: Observer): { gpa: number; size: number }[] {
  const first = insn.operands[0];
  const destination = first === undefined ? undefined : operandAddress(state, first);
  const stack = /^(?:Push|Call)/.test(insn.name) ? state.signedGpr(4) - 8 : undefined;
  const found: { gpa: number; size: number }[] = [];
  for (const [linear, size] of [
    [destination, Math.max(stringSize(insn), first?.kind === 'memory' ? first.size : 0)],
    [stack, 8],
  ] as const) {
    const gpa = linear === undefined || size === 0 ? undefined : observer.find(state, linear, 'write');
    if (gpa !== undefined) found.push({ gpa, size: Math.min(size, PAGE_SIZE - (gpa % PAGE_SIZE)) });
  }
  return found;
}
