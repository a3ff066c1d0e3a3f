import type { CpuState, PhysicalMemory } from '../cpu/index.js';
import { iced } from '../interpreter/iced.js';
import { MAX_INSN, type Observer } from './code.js';
import { mayReveal } from './deprivileged/revealing.js';
import type { Patches } from './patches.js';

/** Instructions that are decoded between two entries of the guest, and for a TD in all. */
const AT_ONCE = 20_000;
const IN_ALL = 1_000_000;
const WINDOW = 512;

interface Entry {
  linear: number;
  bits: 16 | 32 | 64;
}
interface FarTarget {
  selector: number;
  linear: number;
}

/** Exact: linear addresses are below 2^47. */
const keyOf = (linear: number, bits: number): number => linear * 4 + (bits >> 5);

/** Where a TD's code is known to be: what control flow reaches from addresses that were executed. Never data. */
export class Discovery {
  readonly #seen = new Set<number>();
  #entries: Entry[] = [];
  /** Far jumps to code segments that no descriptor table says anything of yet. */
  readonly #far: FarTarget[] = [];
  #idtr = '';
  #total = 0;

  constructor(
    private readonly observer: Observer,
    private readonly memory: PhysicalMemory,
    private readonly patches: Patches,
    /** Writes private memory as the processor sees it. */
    private readonly write: (gpa: number, bytes: Uint8Array) => void,
  ) {}

  /** Finds and patches what can be reached from here and from the exception handlers. */
  explore(state: CpuState, linear: number, bits: 16 | 32 | 64): void {
    if ((this.patches.wanted.size === 0 && !this.patches.revealing) || this.#total > IN_ALL) return;
    this.#add(linear, bits);
    this.#addHandlers(state);
    for (let i = this.#far.length; i-- > 0; ) {
      const target = this.#far[i]!;
      const width = this.#codeBits(state, target.selector);
      if (width === undefined) continue;
      this.#far.splice(i, 1);
      this.#add(target.linear, width);
    }
    for (let left = AT_ONCE; left > 0 && this.#entries.length > 0; ) left -= this.#follow(state, this.#entries.pop()!);
  }

  /** The page at `linear` will have another content. */
  forget(linear: number): void {
    const start = Math.floor(linear / 4096) * 4096;
    for (let at = start; at < start + 4096; at++) this.#seen.delete(keyOf(at, 64));
  }

  #add(linear: number, bits: 16 | 32 | 64): void {
    if (!this.#seen.has(keyOf(linear, bits))) this.#entries.push({ linear, bits });
  }

  #read(state: CpuState, linear: number, length: number): DataView | undefined {
    const gpa = this.observer.find(state, linear, 'read');
    if (gpa === undefined || (gpa % 4096) + length > 4096) return undefined;
    const bytes = this.memory.read(gpa, length);
    return bytes && new DataView(bytes.buffer, bytes.byteOffset, length);
  }

  #codeBits(state: CpuState, selector: number): 16 | 32 | 64 | undefined {
    const at = selector & 0xfff8;
    if ((selector & 4) !== 0 || state.gdtr.base === 0 || at + 7 > state.gdtr.limit) return undefined;
    const high = this.#read(state, state.gdtr.base + at, 8)?.getUint32(4, true);
    if (high === undefined || (high & 0x9800) !== 0x9800) return undefined; // present code
    return (high & 0x20_0000) !== 0 ? 64 : (high & 0x40_0000) !== 0 ? 32 : 16;
  }

  /** Handlers of exceptions, once for each table. */
  #addHandlers(state: CpuState): void {
    const { base, limit } = state.idtr;
    if (`${base} ${limit}` === this.#idtr || base === 0) return;
    this.#idtr = `${base} ${limit}`;
    const size = state.longActive ? 16 : 8;
    for (let vector = 0; vector < 32 && (vector + 1) * size - 1 <= limit; vector++) {
      const gate = this.#read(state, base + vector * size, size);
      if (gate === undefined || (gate.getUint8(5) & 0x8e) !== 0x8e) continue;
      const bits = this.#codeBits(state, gate.getUint16(2, true));
      const low = gate.getUint16(0, true) + gate.getUint16(6, true) * 0x1_0000;
      if (bits !== undefined) this.#add(size === 16 ? low + gate.getInt32(8, true) * 0x1_0000_0000 : low, bits);
    }
  }

  /** Follows one path to its end. @returns instructions decoded. */
  #follow(state: CpuState, { linear, bits }: Entry): number {
    const { Decoder, FlowControl, Mnemonic, OpKind } = iced();
    let count = 0;
    for (let at = linear; ; ) {
      const bytes = this.observer.bytes(state, at, WINDOW);
      const decoder = new Decoder(bits, bytes, 0);
      decoder.ip = BigInt.asUintN(64, BigInt(at));
      try {
        // An instruction cut off at the end of the window is decoded anew from its start, unless nothing follows.
        const margin = bytes.length < WINDOW ? 1 : MAX_INSN;
        while (bytes.length - decoder.position >= margin) {
          if (this.#seen.has(keyOf(at, bits))) return count;
          const insn = decoder.decode();
          try {
            if (insn.isInvalid) return count;
            this.#seen.add(keyOf(at, bits));
            this.#total++;
            count++;
            this.#patch(state, Mnemonic[insn.mnemonic] as string, at, insn.length, bytes, decoder.position, bits);
            const flow = insn.flowControl;
            const kind = insn.opCount > 0 ? insn.opKind(0) : OpKind.Register;
            const near = kind === OpKind.NearBranch64 || kind === OpKind.NearBranch32;
            if (near) this.#add(Number(BigInt.asIntN(64, insn.nearBranchTarget)), bits);
            if (kind === OpKind.FarBranch32) {
              this.#far.push({ selector: insn.farBranchSelector, linear: insn.farBranch32 });
            }
            const ends =
              flow === FlowControl.Return ||
              flow === FlowControl.IndirectBranch ||
              flow === FlowControl.Exception ||
              flow === FlowControl.UnconditionalBranch;
            if (ends) return count;
            at += insn.length;
          } finally {
            insn.free();
          }
        }
        if (bytes.length < WINDOW) return count;
      } finally {
        decoder.free();
      }
    }
  }

  #patch(
    state: CpuState,
    name: string,
    at: number,
    length: number,
    bytes: Uint8Array,
    end: number,
    bits: number,
  ): void {
    if (!this.patches.wants(name.toLowerCase())) return;
    if (mayReveal(name.toLowerCase()) && (bits !== 64 || state.cpl !== 0)) return;
    const gpa = this.observer.find(state, at, 'execute');
    if (gpa === undefined) return;
    const patched = this.patches.put(name.toLowerCase(), gpa, bytes.slice(end - length, end));
    if (patched !== undefined) this.write(gpa, patched);
  }
}
