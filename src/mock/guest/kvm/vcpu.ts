import { AbortError } from '../../../kvm/errors.js';
import type { ExitReply, KvmSregs, KvmVcpu, VcpuExit } from '../../../kvm/index.js';
import {
  type CpuState,
  deliverException,
  EptViolation,
  initialState,
  kvmRegsOf,
  kvmSregsOf,
  Stuck,
  TripleFault,
  takeKvmState,
} from '../cpu/index.js';
import type { EngineVcpu, GuestEvent, ProcessorMode } from '../engine.js';
import { disassemble } from '../interpreter/decode.js';
import { codeAddress, codeBits, MAX_INSN } from './code.js';
import { Deprivileged } from './deprivileged/deprivileged.js';
import { handleExit } from './exits.js';
import { stepInSoftware } from './step.js';
import type { KvmTd } from './td.js';

interface Injection {
  vector: number;
  errorCode?: number;
}

/** Milliseconds between two looks at what mode emulated code is in: they become more. */
const SLICE = 20;
const FIRST_SLICE = 1;

/** What an exit leads to: the guest goes on, perhaps with an answer, or an event. */
export type Answer = { reply?: ExitReply } | { event: GuestEvent };

/** A vCPU of a plain VM, from a TD's first instruction on. */
export class KvmEngineVcpu implements EngineVcpu {
  /** Registers while it does not run. The FPU's stay in KVM. */
  readonly state: CpuState = initialState();
  readonly gprs: BigUint64Array = this.state.gprs;
  readonly mode: ProcessorMode;
  #sregs: KvmSregs;
  #sregsChanged = true;
  #started = false;
  #closed = false;
  #injection: Injection | undefined;
  interruptWindow = false;
  /** `memory.generation` when KVM was entered last. */
  generation = -1;
  #deprivileged: Deprivileged | undefined;
  #slice = FIRST_SLICE;
  #call: { event: GuestEvent; rip: bigint; code: Uint8Array } | undefined;

  constructor(
    readonly td: KvmTd,
    readonly kvm: KvmVcpu,
    gprs: BigUint64Array,
  ) {
    this.gprs.set(gprs);
    this.#sregs = kvm.getSregs();
    this.mode = modeOf(this.state, (value) => {
      this.state.xcr0 = value;
      kvm.setXcrs([{ xcr: 0, value }]);
    });
  }

  get rip(): bigint {
    return this.state.rip;
  }

  set rip(value: bigint) {
    this.state.rip = value;
  }

  get rflags(): bigint {
    return this.state.rflags;
  }

  set rflags(value: bigint) {
    this.state.rflags = value;
  }

  get injecting(): boolean {
    return this.#injection !== undefined;
  }

  get interruptible(): boolean {
    return !this.injecting && this.state.interruptible && this.kvm.getVcpuEvents().interrupt.shadow === 0;
  }

  inject(vector: number, errorCode?: number, cr2?: bigint): void {
    this.#injection = { vector, ...(errorCode !== undefined && { errorCode }) };
    if (cr2 !== undefined) this.state.cr2 = cr2;
    if (cr2 !== undefined) this.changed();
  }

  async run(signal: AbortSignal): Promise<GuestEvent> {
    if (this.#closed || signal.aborted) return { kind: 'interrupted' };
    try {
      const same = this.#sameCall();
      if (same !== undefined) return same;
      const failed = this.#start() ?? this.#deliver();
      if (failed !== undefined) return failed;
      this.push();
      return await this.#runUntilEvent(signal);
    } catch (error) {
      if (this.#closed || this.kvm.closed) return { kind: 'interrupted' };
      return this.stuck(`KVM refused: ${(error as Error).message}`);
    }
  }

  async #runUntilEvent(signal: AbortSignal): Promise<GuestEvent> {
    for (let reply: ExitReply | undefined; ; ) {
      if (signal.aborted) {
        // What the last exit had begun is not left half done.
        if (reply !== undefined) await this.complete(reply);
        this.#stop();
        return { kind: 'interrupted' };
      }
      const exit = await this.#enter(signal, reply);
      if (exit === 'slice') {
        this.#slice = Math.min(SLICE, this.#slice * 2);
        reply = undefined;
        this.pull();
        this.push();
        continue;
      }
      const answer = await this.#answer(exit);
      if (!('event' in answer)) {
        reply = answer.reply;
        continue;
      }
      if (answer.event.kind === 'interrupted') this.#stop();
      else if (this.#missedWindow(answer.event)) return { kind: 'interrupt-window' };
      else this.td.discovery.explore(this.state, codeAddress(this.state), codeBits(this.state));
      if (answer.event.kind === 'tdcall') this.#call = { event: answer.event, rip: this.rip, code: this.bytesAt() };
      return answer.event;
    }
  }

  /**
   * Where KVM emulates privileged code it may not look for the window before the next exit. The interrupt then comes in front
   * of the instruction that the event is about, which has not begun.
   */
  #missedWindow({ kind }: GuestEvent): boolean {
    const beforeInstruction = kind === 'tdcall' || kind === 'instruction' || kind === 'io' || kind === 'ept-violation';
    return this.interruptWindow && beforeInstruction && this.interruptible;
  }

  /**
   * The TDCALL that the last run ended with, where it is to be executed again: a module that needs its host first, to map a
   * page, leaves RIP where it was. The processor could do nothing but end there again.
   */
  #sameCall(): GuestEvent | undefined {
    const call = this.#call;
    this.#call = undefined;
    if (call?.rip !== this.rip || this.#injection !== undefined) return undefined;
    const bytes = this.bytesAt();
    if (bytes.length !== call.code.length || bytes.some((byte, i) => byte !== call.code[i])) return undefined;
    this.#call = call;
    return call.event;
  }

  async #answer(exit: VcpuExit | undefined): Promise<Answer> {
    if (exit === undefined) return { event: { kind: 'interrupted' } };
    if (exit.reason !== 'shutdown' || !this.#deprivileged?.active) return await handleExit(this, exit);
    const event = await this.#deprivileged.trapped();
    if (event !== undefined) return { event };
    if (this.interruptWindow) {
      // What opens the window, STI or IRET, traps.
      const stopped = this.#leaveShadow();
      if (stopped !== undefined) return { event: stopped };
      if (this.interruptible) return { event: { kind: 'interrupt-window' } };
    }
    this.push();
    return {};
  }

  /** Executes in software what STI or a load of SS keeps interrupts from: KVM did not see those. */
  #leaveShadow(): GuestEvent | undefined {
    while (this.state.shadowIp === this.state.ip) {
      const event = stepInSoftware(this);
      if (event !== undefined) return event;
    }
    return undefined;
  }

  /** The registers after a run that its signal ended. */
  #stop(): void {
    this.pull();
    if (this.#deprivileged?.active) this.#deprivileged.stopped();
  }

  /**
   * One KVM_RUN. Undefined: the signal ended it; 'slice': a look at the guest's mode was due. Code that was emulated becomes
   * one that can run deprivileged without anything to see of it.
   */
  async #enter(signal: AbortSignal, reply: ExitReply | undefined): Promise<VcpuExit | 'slice' | undefined> {
    const { interruptWindow } = this;
    const sliced = this.td.deprivileges && !this.#deprivileged?.active;
    this.td.enter(sliced);
    this.generation = this.td.memory.generation;
    const either = sliced ? AbortSignal.any([signal, AbortSignal.timeout(this.#slice)]) : signal;
    try {
      return await this.kvm.run({ signal: either, interruptWindow, ...(reply !== undefined && { reply }) });
    } catch (error) {
      if (error instanceof AbortError) return signal.aborted ? undefined : 'slice';
      throw error;
    } finally {
      this.td.leave(sliced);
    }
  }

  /**
   * Finishes in KVM what the last exit had begun; registers and memory change. Exits of the same instruction are answered
   * with an empty bus.
   */
  async complete(reply?: ExitReply): Promise<void> {
    for (let answer = reply, n = 0; n < 64; n++, answer = undefined) {
      const { reason } = await this.kvm.run({ completeOnly: true, ...(answer !== undefined && { reply: answer }) });
      if (reason !== 'mmio' && reason !== 'io') return;
    }
  }

  /** What can be told KVM only now: the module knows this vCPU, and the guest has not run. */
  #start(): GuestEvent | undefined {
    if (this.#started) return undefined;
    this.#started = true;
    this.kvm.setCpuid2(this.td.cpuidOf(this));
    this.td.prepareMemory();
    this.td.discovery.explore(this.state, codeAddress(this.state), codeBits(this.state));
    return undefined;
  }

  #deliver(): GuestEvent | undefined {
    const injection = this.#injection;
    if (injection === undefined) return undefined;
    this.#injection = undefined;
    try {
      deliverException(this.state, this.td.software, injection.vector, injection.errorCode);
      this.changed();
      return undefined;
    } catch (error) {
      if (error instanceof TripleFault) return { kind: 'triple-fault' };
      if (error instanceof Stuck) return this.stuck(error.why);
      if (!(error instanceof EptViolation)) throw error;
      const { gpa, gla, access } = error;
      return { kind: 'ept-violation', gpa, gla, access, length: 0, delivering: injection };
    }
  }

  /** Takes the registers from KVM. */
  pull(): void {
    if (this.#deprivileged?.active) {
      this.#deprivileged.pull();
      return;
    }
    this.#sregs = this.kvm.getSregs();
    takeKvmState(this.state, this.kvm.getRegs(), this.#sregs);
    this.state.shadowIp = Number.NaN;
    this.#sregsChanged = false;
  }

  /** Special registers are given back to KVM before the next run. */
  changed(): void {
    this.#sregsChanged = true;
    this.#deprivileged?.changed();
  }

  /** Gives the registers to KVM. */
  push(): void {
    if (this.td.deprivileges && Deprivileged.suits(this.state)) {
      this.#deprivileged ??= new Deprivileged(this, this.kvm.id);
      this.#deprivileged.push(this.#sregs);
      return;
    }
    if (this.#deprivileged?.active) {
      this.#deprivileged.active = false;
      this.#slice = FIRST_SLICE;
      this.#sregsChanged = true;
    }
    if (this.#sregsChanged) this.kvm.setSregs(kvmSregsOf(this.state, this.#sregs));
    this.#sregsChanged = false;
    this.kvm.setRegs(kvmRegsOf(this.state));
  }

  /** Bytes at the instruction pointer, without patches, as many as there are. */
  bytesAt(ip: number = this.state.ip): Uint8Array {
    return this.td.observer.bytes(this.state, codeAddress(this.state, ip), MAX_INSN);
  }

  stuck(why: string): GuestEvent {
    const bytes = this.bytesAt();
    const { rip } = this.state;
    const text = bytes.length > 0 ? disassemble(bytes, rip, codeBits(this.state)) : 'no memory';
    return { kind: 'stuck', why: `${why}; at RIP 0x${rip.toString(16)}: ${text}`, rip, bytes };
  }

  close(): void {
    this.#closed = true;
    this.kvm.close();
  }
}

const modeOf = (state: CpuState, setXcr0: (value: bigint) => void): ProcessorMode => ({
  get cpl() {
    return state.cpl;
  },
  get longMode() {
    return state.in64;
  },
  get cr0() {
    return BigInt(state.cr0 >>> 0);
  },
  get cr3() {
    return BigInt(state.cr3);
  },
  get cr4() {
    return BigInt(state.cr4);
  },
  get efer() {
    return BigInt(state.efer);
  },
  get xcr0() {
    return state.xcr0;
  },
  set xcr0(value: bigint) {
    setXcr0(value);
  },
});
