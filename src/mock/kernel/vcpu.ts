import type { CpuidEntry } from '../../kvm/cpuid.js';
import type { ExitReply, VcpuExit } from '../../kvm/exits.js';
import type { KvmRegs, KvmSregs } from '../../kvm/vcpu.js';
import { copyEntries, findCpuidEntry, MAX_CPUID_ENTRIES, maxPhyAddr } from './cpuid2.js';
import { type PlainState, resetRegs, resetSregs, resetState } from './plain-registers.js';
import { demand, Refusal } from './refusal.js';
import type { Takes } from './run/handled.js';
import { waitForInit } from './run/wait-for-init.js';
import { tdxVcpuIoctl } from './td-ioctl.js';
import { TdVcpu } from './td-vcpu.js';
import type { TdxCmd, TdxCmdData, UserValue } from './user.js';
import type { Vm } from './vm.js';

const PLAIN_VM =
  'the model executes TDs, not plain VMs: the checks of KVM_RUN passed and the guest would have been entered';

/** `struct kvm_cpuid2` of KVM_SET_CPUID2. */
export interface SetCpuid2 {
  nent: number;
  readEntries(nent: number): readonly CpuidEntry[];
}

/** A vCPU as KVM keeps it. Each method is one request on its descriptor; a refused one throws Refusal. */
export class Vcpu {
  readonly td: TdVcpu | undefined;
  cpuid: readonly CpuidEntry[] = [];
  /** vcpu->arch.virtual_tsc_khz. */
  virtualTscKhz: number;
  /** KVM_MP_STATE_RUNNABLE; otherwise KVM_RUN waits for an INIT. */
  runnable: boolean;
  hasRun = false;
  #released = false;
  #regs: KvmRegs = resetRegs();
  #sregs: KvmSregs;
  readonly #state = resetState();

  constructor(
    readonly vm: Vm,
    /** vcpu_id. */
    readonly id: number,
  ) {
    this.virtualTscKhz = vm.defaultTscKhz;
    this.runnable = vm.irqchip === 'none' || vm.bspVcpuId === id;
    this.#sregs = resetSregs(vm.bspVcpuId === id);
    if (vm.td) this.td = new TdVcpu(this, vm.td);
    vm.hold();
  }

  request<T>(name: string, body: () => T): T {
    return this.vm.request(name, body);
  }

  /** KVM_SET_CPUID2. */
  setCpuid2(readHeader: () => SetCpuid2): void {
    this.request('KVM_SET_CPUID2', () => {
      const header = readHeader();
      demand(header.nent <= MAX_CPUID_ENTRIES, 'kvm.set-cpuid2.nent');
      const entries = copyEntries(header.nent ? header.readEntries(header.nent) : []);
      if (this.hasRun) {
        demand(JSON.stringify(entries) === JSON.stringify(this.cpuid), 'kvm.set-cpuid2.after-run');
        return;
      }
      const widths = findCpuidEntry(entries, 0x8000_0008, 'not-significant');
      const linear = widths ? (widths.eax >>> 8) & 0xff : 0;
      demand(linear === 0 || linear === 48 || linear === 57, 'kvm.set-cpuid2.linear-address');
      this.cpuid = entries;
      this.td?.afterSetCpuid();
    });
  }

  /** KVM_SET_TSC_KHZ on the vCPU. @param khz unsigned long, of which KVM takes the lower half. */
  setTscKhz(khz: bigint): void {
    this.request('KVM_SET_TSC_KHZ', () => {
      demand(this.td === undefined, 'kvm.tsc-khz.protected');
      const value = Number(khz & 0xffff_ffffn);
      demand(value < 0x7fff_ffff, 'kvm.tsc-khz.range');
      this.virtualTscKhz = value || this.vm.host.tscKhz;
    });
  }

  /** KVM_GET_TSC_KHZ on the vCPU. */
  getTscKhz(): number {
    return this.request('KVM_GET_TSC_KHZ', () => this.virtualTscKhz);
  }

  #plainRegisters<T>(request: string, body: () => T): T {
    return this.request(request, () => {
      demand(this.td === undefined, 'kvm.protected-state');
      return body();
    });
  }

  /** KVM_GET_REGS. The model keeps the registers of a plain VM and does not run it. */
  getRegs(): KvmRegs {
    return this.#plainRegisters('KVM_GET_REGS', () => ({ ...this.#regs }));
  }

  /** KVM_SET_REGS. */
  setRegs(regs: KvmRegs): void {
    this.#plainRegisters('KVM_SET_REGS', () => {
      this.#regs = { ...regs };
    });
  }

  /** KVM_GET_SREGS. */
  getSregs(): KvmSregs {
    return this.#plainRegisters('KVM_GET_SREGS', () => structuredClone(this.#sregs));
  }

  /** KVM_SET_SREGS. */
  setSregs(sregs: KvmSregs): void {
    this.#plainRegisters('KVM_SET_SREGS', () => {
      this.#sregs = structuredClone(sregs);
    });
  }

  /** KVM_GET_XSAVE, KVM_GET_XCRS, KVM_GET_VCPU_EVENTS: the bytes of their struct. */
  getState(request: string, kind: keyof PlainState): Uint8Array {
    return this.#plainRegisters(request, () => this.#state[kind].slice());
  }

  /** KVM_SET_XSAVE, KVM_SET_XCRS, KVM_SET_VCPU_EVENTS. */
  setState(request: string, kind: keyof PlainState, bytes: Uint8Array): void {
    this.#plainRegisters(request, () => {
      this.#state[kind] = bytes.slice();
    });
  }

  /** KVM_MEMORY_ENCRYPT_OP on the vCPU. */
  memoryEncryptOp(cmd: UserValue<TdxCmd>, data: TdxCmdData): void {
    this.vm.checkAlive();
    if (!this.td) throw new Refusal('kvm.tdx.not-a-td-vcpu');
    tdxVcpuIoctl(this.td, cmd, data);
  }

  /** kvm_vcpu_is_legal_gpa(). */
  isLegalGpa(gpa: bigint): boolean {
    return gpa >> BigInt(maxPhyAddr(this.cpuid)) === 0n;
  }

  /** What the next KVM_RUN may bring for the guest; nothing where this is undefined. */
  get takes(): Takes | undefined {
    return this.td?.run.takes;
  }

  /**
   * KVM_RUN, one at a time. Exits are those of kvm_run; a memory fault is KVM_RUN's EFAULT with its exit. Where `reply`
   * leaves something out, KVM's own defaults count, and reads give an empty bus.
   * @param options.signal a signal for the task, or immediate_exit: the vCPU leaves its guest. What the last exit has left
   * to complete is completed all the same.
   * @throws Refusal: EINTR after a signal, EINVAL, EFAULT, EIO, and a fault on demand.
   */
  async run({ reply, signal }: { reply: ExitReply; signal: AbortSignal }): Promise<VcpuExit> {
    this.vm.checkAlive();
    const { step } = this.vm.host.faults.begin('KVM_RUN');
    if (!this.runnable) return waitForInit(signal);
    if (!this.td) {
      if (signal.aborted) throw new Refusal('kvm.run.signal');
      this.hasRun = true;
      return { reason: 'unknown', exitReason: 0, detail: PLAIN_VM };
    }
    return this.td.run.run({ reply, signal, step });
  }

  /** Closes the vCPU's descriptor; the vCPU itself stays with its VM. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.td?.run.release();
    this.vm.drop();
  }
}
