import type { EngineTd, EngineVcpu, GuestEngine, GuestSpace, PrivatePage } from '../guest/engine.js';
import type { ModuleBoot } from './boot.js';
import { asksForVe, cpuid } from './cpuid.js';
import type { ModuleFacts } from './facts.js';
import { gpaWidth, pageOf, privateGpaBits, walkTo } from './gpa.js';
import type { ModuleState } from './module-state.js';
import { PAGE_4K, type Pamt } from './pamt.js';
import type { EnterHost } from './seamcall.js';
import type { SeptWalk } from './sept.js';
import { mappedLeaves, spanOf, startOf } from './sept-leaves.js';
import { isBlocked, SEPT } from './sept-state.js';
import type { Td, Vcpu } from './td.js';

const ZEROS = new Uint8Array(PAGE_4K);

/** A TD in an engine: its memory as the engine asks for it, and as the module's leaves read and write it. */
export class GuestTd implements GuestSpace {
  readonly sharedBit: number;
  readonly module: ModuleBoot;
  readonly facts: ModuleFacts;
  readonly pamt: Pamt;
  /** Private GPAs are below 2^this. */
  readonly privateBits: number;
  readonly #engine: EngineTd;
  readonly #vcpus = new Map<EngineVcpu, Vcpu>();
  readonly #hosts: EnterHost[] = [];
  readonly #nativeTsc: () => bigint;

  constructor(
    engine: GuestEngine,
    { boot, facts, pamt, tsc }: ModuleState,
    readonly td: Td,
  ) {
    this.#nativeTsc = tsc;
    this.module = boot;
    this.facts = facts;
    this.pamt = pamt;
    this.privateBits = privateGpaBits(facts.features, td);
    this.sharedBit = 2 ** (gpaWidth(td) - 1);
    this.#engine = engine.openTd(this);
    // Pages that were added before the first entry; an engine may need to know them before the guest touches them.
    for (const [i, entry] of td.septRoot.entries()) {
      for (const { gpa, size } of mappedLeaves(entry, td.rootLevel, i * spanOf(td.rootLevel))) {
        this.#engine.pagesMapped(gpa, size);
      }
    }
  }

  /** The processor of `vcpu`, made at its first entry. */
  processor(vcpu: Vcpu): EngineVcpu {
    if (!vcpu.guest) {
      vcpu.guest = this.#engine.createVcpu(vcpu.index, vcpu.gprs.slice());
      this.#vcpus.set(vcpu.guest, vcpu);
    }
    return vcpu.guest;
  }

  /** A VCPU is inside with this host; the result ends it. */
  inside(host: EnterHost): () => void {
    this.#hosts.push(host);
    return () => this.#hosts.splice(this.#hosts.indexOf(host), 1);
  }

  close(): void {
    for (const [cpu, vcpu] of this.#vcpus) {
      cpu.close();
      delete vcpu.guest;
    }
    this.#vcpus.clear();
    this.#engine.close();
  }

  isShared(gpa: number): boolean {
    return Math.floor(gpa / this.sharedBit) % 2 === 1;
  }

  /** Whether bits other than SHARED are set that no address of this TD has. */
  isBeyondWidth(gpa: number): boolean {
    const without = this.isShared(gpa) ? gpa - this.sharedBit : gpa;
    return without >= 2 ** this.privateBits;
  }

  privatePage(gpa: number): PrivatePage {
    if (gpa >= 2 ** this.privateBits) return { state: 'absent' };
    const walk = walkTo(this.td, gpa, 0);
    const state = walk.entry?.state ?? SEPT.FREE;
    if (state === SEPT.MAPPED) return mappedPage(this.pamt, pageOf(walk, gpa));
    if (state === SEPT.PENDING) return { state: 'pending' };
    return { state: isBlocked(state) ? 'blocked' : 'absent' };
  }

  readShared(gpa: number, length: number): Uint8Array | undefined {
    return this.#hosts.at(-1)?.readShared(gpa, length);
  }

  writeShared(gpa: number, bytes: Uint8Array): boolean {
    return this.#hosts.at(-1)?.writeShared(gpa, bytes) ?? false;
  }

  /** Whether the shared EPT turns an access into a #VE. `gpa` as the guest has it. */
  isMmio(gpa: number): boolean {
    return this.#hosts.at(-1)?.isMmio?.(gpa - this.sharedBit) ?? true;
  }

  cpuid(cpu: EngineVcpu, leaf: number, subleaf: number): readonly [number, number, number, number] | undefined {
    const vcpu = this.#vcpus.get(cpu);
    if (!vcpu) return undefined;
    const { cpl, cr4, longMode } = cpu.mode;
    if (asksForVe(vcpu, this.facts, cpl, leaf, subleaf)) return undefined;
    const result = cpuid({ module: this.module, vcpu }, { cr4, longMode }, leaf, subleaf);
    return 'vector' in result ? undefined : result;
  }

  /** The time-stamp counter as the TD's processors scale it and offset it. */
  tsc(): bigint {
    const { configuration, tscOffset } = this.td;
    return BigInt.asUintN(64, ((this.#nativeTsc() * configuration!.tscMultiplier) >> 48n) + tscOffset);
  }

  /** Bytes of mapped private memory, within a page. */
  readPrivate(gpa: number, length: number): Uint8Array {
    return this.#engine.readPrivate(gpa, length);
  }

  writePrivate(gpa: number, bytes: Uint8Array): void {
    this.#engine.writePrivate(gpa, bytes);
  }

  /** The entry where `walk` ended has become mapped, or not blocked any more. */
  mapped({ entry, level }: SeptWalk, gpa: number): void {
    for (const leaf of mappedLeaves(entry, level, startOf(level, gpa))) this.#engine.pagesMapped(leaf.gpa, leaf.size);
  }

  /** The entry where `walk` ended is about to be blocked: from now on the module keeps the content of its pages. */
  blocking({ entry, level }: SeptWalk, gpa: number): void {
    for (const leaf of mappedLeaves(entry, level, startOf(level, gpa))) {
      for (let at = 0; at < leaf.size; at += PAGE_4K) this.#takeBack(leaf.gpa + at, leaf.hpa + at);
      this.#engine.pagesUnmapped(leaf.gpa, leaf.size);
    }
  }

  #takeBack(gpa: number, hpa: number): void {
    const bytes = this.#engine.readPrivate(gpa, PAGE_4K);
    if (bytes.buffer !== this.pamt.content(hpa)?.buffer) this.pamt.fill(hpa, bytes);
  }
}

/** Bytes are made when asked for: most pages of a TD stay zero for long. */
const mappedPage = (pamt: Pamt, hpa: number): PrivatePage => ({
  state: 'mapped',
  zero: pamt.content(hpa) === undefined,
  get bytes() {
    return pamt.content(hpa) ?? pamt.fill(hpa, ZEROS);
  },
});
