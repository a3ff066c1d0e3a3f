import type { ExitReply, VcpuExit } from '../../../kvm/exits.js';
import type { EnterHost, VpEnterResult } from '../../module/seamcall.js';
import { letOthersRun, turnIsDue } from '../../turn.js';
import { NoEngine } from '../engine.js';
import { Refusal } from '../refusal.js';
import type { Td } from '../td.js';
import type { TdVcpu } from '../td-vcpu.js';
import { EXIT_REASON } from './exit-reason.js';
import { handleExit } from './handle-exit.js';
import type { Handled, Takes, UserExit } from './handled.js';
import { keepAlive } from './keep-alive.js';
import { LocalApic } from './local-apic.js';
import { Msrs } from './msrs.js';
import { takeRegisters, zeroRegisters } from './registers.js';
import { SharedMemory } from './shared-memory.js';

const NO_ENGINE = "KVM_RUN's checks passed, but the model has nothing that executes its guests";

/** The KVM_RUN under way, as far as whoever serves it needs it. */
export interface RunRequest {
  reply: ExitReply;
  /** A signal for the task, or kvm_run.immediate_exit: KVM_RUN returns EINTR. */
  signal: AbortSignal;
  /** Runs a step of the request under its faults. */
  step<T>(body: () => T): T;
}

/** What KVM keeps of a TD's vCPU between TDH.VP.ENTERs, and KVM_RUN itself. */
export class TdRun {
  readonly regs = zeroRegisters();
  /** RAX of the last TDH.VP.ENTER. */
  vpEnterRet = 0n;
  /** VMX basic exit reason of the last TD exit, a TDG.VP.VMCALL for an instruction counting as that instruction. */
  exitReason: number | undefined;
  /** KVM_MP_STATE_HALTED: the guest waits for an interrupt. */
  halted = false;
  /** vcpu->arch.pv.pv_unhalted. */
  #unhalted = false;
  readonly apic: LocalApic;
  readonly msrs: Msrs;
  #complete: UserExit['complete'];
  #takes: Takes | undefined;
  /** Takes the processor out of the guest. */
  #kick = new AbortController();
  #inside = false;
  /** The signal of the last KVM_RUN; listened to until another comes, for most runs of a vCPU share theirs. */
  #signal: AbortSignal | undefined;
  readonly #onSignal = () => this.kick();
  readonly #host: EnterHost;
  /** Of a halted vCPU in KVM_RUN: ends the wait. */
  #wake: (() => void) | undefined;

  constructor(readonly vcpu: TdVcpu) {
    this.apic = new LocalApic(vcpu);
    this.msrs = new Msrs(this);
    const shared = new SharedMemory(vcpu.td.vm);
    const kicked = () => this.#kick.signal;
    this.#host = {
      get signal() {
        return kicked();
      },
      readShared: (gpa, length) => shared.read(gpa, length),
      posted: this.apic.posted,
      writeShared: (gpa, bytes) => shared.write(gpa, bytes),
      isMmio: (gpa) => shared.isMmio(gpa),
    };
  }

  get td(): Td {
    return this.vcpu.td;
  }

  /** What the last exit lets user space answer. */
  get takes(): Takes | undefined {
    return this.#takes;
  }

  /** kvm_vcpu_has_events(): an NMI, or an interrupt that the guest did not block when it halted. */
  hasEvents(): boolean {
    const { nmi, posted } = this.apic;
    if (nmi) return true;
    const halted = this.exitReason === EXIT_REASON.HLT;
    if (halted && this.regs.r12 !== 0n) return false;
    // tdx_protected_apic_has_interrupt(): what was there before another exit is blocked, or it would have been taken.
    return posted.outstanding || (halted && this.vcpu.hasVirtualInterrupt());
  }

  /** kvm_emulate_halt_noskip() with the local APIC in the kernel: the vCPU waits, unless there is something for it already. */
  halt(): 'enter' {
    this.halted = !this.#awake();
    return 'enter';
  }

  /** KVM_HC_KICK_CPU: ends the vCPU's halt, or the next one. */
  unhalt(): void {
    this.#unhalted = true;
    this.wake();
  }

  /** kvm_vcpu_kick(): out of the guest, to look what there is to do. */
  kick(): void {
    this.#kick.abort();
    this.wake();
  }

  /** The interrupt with POSTED_INTR_VECTOR: a vCPU that is inside takes what was posted, and goes on. */
  notify(): void {
    const kick = this.#kick;
    if (this.#inside && !kick.signal.aborted) {
      this.#kick = new AbortController();
      kick.abort();
    }
    this.wake();
  }

  /** kvm_vcpu_wake_up(). */
  wake(): void {
    this.#wake?.();
  }

  /** KVM_RUN (kvm_arch_vcpu_ioctl_run, vcpu_run). @throws Refusal. */
  async run(request: RunRequest): Promise<VcpuExit> {
    const { signal, reply, step } = request;
    const complete = this.#complete;
    this.#complete = undefined;
    this.#takes = undefined;
    let next: Handled = complete ? step(() => complete(reply)) : 'enter';
    if (next !== 'enter') return this.#leave(next);
    if (signal.aborted) throw new Refusal('kvm.run.signal');
    step(() => this.vcpu.checkRun());
    this.#listen(signal);
    try {
      for (;;) {
        if (this.td.vm.dead) throw new Refusal('kvm.vm-dead');
        if (signal.aborted) throw new Refusal('kvm.run.signal');
        if (this.halted) await this.#block(signal);
        else next = await this.#enter(request);
        if (next !== 'enter') return this.#leave(next);
      }
    } catch (error) {
      if (!(error instanceof NoEngine)) throw error;
      return { reason: 'unknown', exitReason: 0, detail: `${NO_ENGINE}: ${error.message}` };
    }
  }

  /** The vCPU's descriptor is closed: no KVM_RUN comes any more. */
  release(): void {
    this.#unlisten();
    this.apic.timer.stop();
  }

  #unlisten(): void {
    this.#signal?.removeEventListener('abort', this.#onSignal);
    this.#signal = undefined;
  }

  #listen(signal: AbortSignal): void {
    if (this.#kick.signal.aborted) this.#kick = new AbortController();
    if (signal === this.#signal) return;
    this.#unlisten();
    this.#signal = signal;
    signal.addEventListener('abort', this.#onSignal, { once: true });
  }

  #leave(left: UserExit): VcpuExit {
    this.#complete = left.complete;
    this.#takes = left.takes;
    return left.exit;
  }

  /** vcpu_enter_guest(): one TDH.VP.ENTER and what it leaves to do. */
  async #enter({ step, signal }: RunRequest): Promise<Handled> {
    if (turnIsDue()) await letOthersRun();
    const { regs, vcpu } = this;
    // A kick that was for something else than the signal has done its work: the vCPU is outside.
    if (this.#kick.signal.aborted && !signal.aborted) this.#kick = new AbortController();
    if (this.apic.nmi) {
      this.apic.nmi = false;
      vcpu.injectNmi();
    }
    this.#inside = true;
    let result: VpEnterResult;
    try {
      result = await step(() => this.td.seamcalls.vpEnter({ ...regs, rcx: vcpu.tdvpr }, this.#host));
    } finally {
      this.#inside = false;
    }
    this.vpEnterRet = result.status;
    takeRegisters(regs, result);
    return step(() => handleExit(this, stuckText(result.stuck)));
  }

  /** vcpu_block(): waits for an interrupt, a signal or the VM's end, and keeps the event loop alive meanwhile. */
  async #block(signal: AbortSignal): Promise<void> {
    using _ = keepAlive();
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      if (signal.aborted || this.hasEvents() || this.#unhalted) resolve();
    });
    this.#wake = undefined;
    this.halted = !this.#awake();
  }

  /** kvm_arch_vcpu_runnable(), and a kick is used up. */
  #awake(): boolean {
    const kicked = this.#unhalted;
    this.#unhalted = false;
    return kicked || this.hasEvents();
  }
}

const stuckText = (stuck: VpEnterResult['stuck']): string | undefined => {
  if (!stuck) return undefined;
  const bytes = Buffer.from(stuck.bytes)
    .toString('hex')
    .replace(/..(?=.)/g, '$& ');
  return `${stuck.why}; RIP 0x${stuck.rip.toString(16)}, bytes ${bytes || 'unreadable'}`;
};
