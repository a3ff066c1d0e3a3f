import { setImmediate } from 'node:timers/promises';
import { EFER_SCE } from '../cpu/bits.js';
import { GuestFault } from '../cpu/fault.js';
import type { CpuState } from '../cpu/state.js';
import { initialState, signed } from '../cpu/state.js';
import type { EngineVcpu, GuestEvent, ProcessorMode } from '../engine.js';
import { deliver, execute, executeToWindow, settled } from './execute.js';
import { Machine } from './machine.js';
import type { SpaceMemory } from './space-memory.js';

/** Instructions after which others (vCPUs, timers, an abort) have their turn: some milliseconds. */
const SLICE = 5000;
/** What an event counts for, so that a guest of nothing but events lets others run as well. */
const EVENT = 100;

/** A view of the state: what it says is always what is. */
class Mode implements ProcessorMode {
  readonly #state: CpuState;

  constructor(state: CpuState) {
    this.#state = state;
  }

  get cpl(): number {
    return this.#state.cpl;
  }
  get longMode(): boolean {
    return this.#state.in64;
  }
  get cr0(): bigint {
    return BigInt(this.#state.cr0 >>> 0);
  }
  get cr3(): bigint {
    return BigInt(this.#state.cr3);
  }
  get cr4(): bigint {
    return BigInt(this.#state.cr4 >>> 0);
  }
  get efer(): bigint {
    return BigInt(this.#state.efer);
  }
  /** SCE only: the rest follows from what the processor does. */
  set efer(value: bigint) {
    this.#state.efer = (this.#state.efer & ~EFER_SCE) | (Number(value) & EFER_SCE);
  }
  get xcr0(): bigint {
    return this.#state.xcr0;
  }
  set xcr0(value: bigint) {
    this.#state.xcr0 = value;
  }
}

export class InterpreterVcpu implements EngineVcpu {
  readonly mode: ProcessorMode;
  readonly #state: CpuState = initialState();
  readonly #machine: Machine;
  readonly #memory: SpaceMemory;
  #generation = 0;
  #pending: GuestFault | undefined;
  #budget = SLICE;
  #running = false;
  #closed = false;
  interruptWindow = false;

  constructor(memory: SpaceMemory, gprs: BigUint64Array) {
    this.#memory = memory;
    this.#machine = new Machine(this.#state, memory);
    this.#state.gprs.set(gprs);
    if (memory.tsc !== undefined) this.#state.tsc = memory.tsc;
    this.mode = new Mode(this.#state);
  }

  get gprs(): BigUint64Array {
    return this.#state.gprs;
  }

  get rip(): bigint {
    return this.#state.rip;
  }

  set rip(value: bigint) {
    this.#state.ip = signed(value);
  }

  get rflags(): bigint {
    return this.#state.rflags;
  }

  set rflags(value: bigint) {
    this.#state.rflags = value;
    this.#machine.flush(); // AC
  }

  get injecting(): boolean {
    return this.#pending !== undefined;
  }

  get interruptible(): boolean {
    return !this.injecting && this.#state.interruptible;
  }

  inject(vector: number, errorCode?: number, cr2?: bigint): void {
    this.#pending = new GuestFault(vector, errorCode, cr2);
  }

  /** Memory that others changed meanwhile is looked at anew. */
  #refresh(): void {
    if (this.#generation === this.#memory.generation) return;
    this.#generation = this.#memory.generation;
    this.#machine.flush();
  }

  #slice(): GuestEvent | undefined {
    this.#refresh();
    if (this.#pending !== undefined) {
      try {
        deliver(this.#machine, this.#pending);
      } catch (error) {
        return settled(this.#machine, error); // still pending: the next run tries again
      }
      this.#pending = undefined;
    }
    return (this.interruptWindow ? executeToWindow : execute)(this.#machine, this.#budget);
  }

  async run(signal: AbortSignal): Promise<GuestEvent> {
    if (this.#running) throw new Error('the vCPU is running already');
    this.#running = true;
    try {
      while (!signal.aborted && !this.#closed) {
        if (this.#budget > 0) {
          const event = this.#slice();
          this.#budget = event === undefined ? 0 : this.#budget - EVENT;
          if (event !== undefined) return event;
        }
        await setImmediate();
        this.#budget = SLICE;
      }
      return { kind: 'interrupted' };
    } finally {
      this.#running = false;
    }
  }

  close(): void {
    this.#closed = true;
  }
}
