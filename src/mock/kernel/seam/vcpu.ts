import { u64 } from '../../../kvm/check.js';
import { cpuidEntries } from '../../../kvm/check-cpuid.js';
import { memRegion } from '../../../kvm/check-memory.js';
import { type CheckedRun, runOptions } from '../../../kvm/check-run.js';
import { KVM_TDX, KVM_TDX_MEASURE_MEMORY_REGION } from '../../../kvm/constants.js';
import type { CpuidEntry } from '../../../kvm/cpuid.js';
import { AbortError, KvmStateError } from '../../../kvm/errors.js';
import type { ExitReply, VcpuExit } from '../../../kvm/exits.js';
import { packRegs, packSregs, unpackRegs, unpackSregs } from '../../../kvm/registers.js';
import type {
  KvmRegs,
  KvmSregs,
  KvmVcpu,
  KvmVcpuEvents,
  KvmXcr,
  RunOptions,
  TdxMemRegion,
  TdxVcpuOps,
} from '../../../kvm/vcpu.js';
import { packVcpuEvents, packXcrs, unpackVcpuEvents, unpackXcrs, xsaveBytes } from '../../../kvm/vcpu-state.js';
import { Refusal } from '../refusal.js';
import { type InitMemRegion, type TdxCmdData, tdxCmdData, type UserValue, userValue } from '../user.js';
import type { Vcpu } from '../vcpu.js';
import { demandOpen, issue, kvmError } from './issue.js';
import { MockGuestMemory, type MockProcess } from './memory.js';
import { answerPort, PortOutput } from './ports.js';
import { checkReply } from './reply.js';

/** With somebody watching, a call adds at most this many pages. */
const PAGES_PER_CALL = 256;
/** KVM_TDX_INIT_MEM_REGION is tried again this often without a page of progress before EINTR or EAGAIN is believed. */
const RESUMES = 100;
const RESUMABLE = new Set([4, 11]);

const EINTR = 4;
const EAGAIN = 11;
const IMMEDIATE_EXIT = AbortSignal.abort();

/** A vCPU of a modelled host. */
export class MockVcpu implements KvmVcpu {
  readonly id: number;
  readonly tdx: TdxVcpuOps;
  #closed = false;
  /** Of the run under way: takes the vCPU out of its guest. */
  #interrupt: AbortController | undefined;
  readonly #output = new PortOutput();

  constructor(
    /** For the model only. */
    readonly kernel: Vcpu,
    process: MockProcess,
  ) {
    this.id = kernel.id;
    this.tdx = new MockTdxVcpu(kernel, process, () => this.#demandIdle());
  }

  get closed(): boolean {
    return this.#closed;
  }

  get running(): boolean {
    return this.#interrupt !== undefined;
  }

  #demandIdle(): void {
    demandOpen('vCPU', this.#closed);
    if (this.running) throw new KvmStateError('ERR_KVM_VCPU_RUNNING', `vCPU ${this.id} is running`);
  }

  #issue<T>(request: string, body: () => T): T {
    this.#demandIdle();
    return issue(request, body);
  }

  setCpuid2(entries: readonly CpuidEntry[]): void {
    const checked = cpuidEntries('entries', entries);
    const header = { nent: checked.length, readEntries: () => checked };
    this.#issue('KVM_SET_CPUID2', () => this.kernel.setCpuid2(() => header));
  }

  getRegs(): KvmRegs {
    return this.#issue('KVM_GET_REGS', () => this.kernel.getRegs());
  }

  setRegs(regs: KvmRegs): void {
    const checked = unpackRegs(packRegs(regs));
    this.#issue('KVM_SET_REGS', () => this.kernel.setRegs(checked));
  }

  getSregs(): KvmSregs {
    return this.#issue('KVM_GET_SREGS', () => this.kernel.getSregs());
  }

  setSregs(sregs: KvmSregs): void {
    const checked = unpackSregs(packSregs(sregs));
    this.#issue('KVM_SET_SREGS', () => this.kernel.setSregs(checked));
  }

  getXsave(): Uint8Array {
    return this.#issue('KVM_GET_XSAVE', () => this.kernel.getState('KVM_GET_XSAVE', 'xsave'));
  }

  setXsave(xsave: Uint8Array): void {
    const packed = xsaveBytes(xsave);
    this.#issue('KVM_SET_XSAVE', () => this.kernel.setState('KVM_SET_XSAVE', 'xsave', packed));
  }

  getXcrs(): KvmXcr[] {
    return unpackXcrs(this.#issue('KVM_GET_XCRS', () => this.kernel.getState('KVM_GET_XCRS', 'xcrs')));
  }

  setXcrs(xcrs: readonly KvmXcr[]): void {
    const packed = packXcrs(xcrs);
    this.#issue('KVM_SET_XCRS', () => this.kernel.setState('KVM_SET_XCRS', 'xcrs', packed));
  }

  getVcpuEvents(): KvmVcpuEvents {
    return unpackVcpuEvents(
      this.#issue('KVM_GET_VCPU_EVENTS', () => this.kernel.getState('KVM_GET_VCPU_EVENTS', 'events')),
    );
  }

  setVcpuEvents(events: KvmVcpuEvents): void {
    const packed = packVcpuEvents(events);
    this.#issue('KVM_SET_VCPU_EVENTS', () => this.kernel.setState('KVM_SET_VCPU_EVENTS', 'events', packed));
  }

  async run(options: RunOptions = {}): Promise<VcpuExit> {
    const { signal, reply, ports, completeOnly } = runOptions(options);
    this.#demandIdle();
    if (signal?.aborted) throw new AbortError(signal.reason);
    checkReply(reply, this.kernel.takes);
    const interrupt = new AbortController();
    this.#interrupt = interrupt;
    const onAbort = () => interrupt.abort();
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      return await this.#runUntilExit(reply, completeOnly ? IMMEDIATE_EXIT : interrupt.signal, ports);
    } catch (refusal) {
      if (this.#closed) throw new KvmStateError('ERR_KVM_CLOSED', `vCPU ${this.id} was closed while it ran`);
      if (!(refusal instanceof Refusal)) throw refusal;
      if (refusal.errno !== EINTR) throw kvmError('KVM_RUN', refusal);
      if (interrupt.signal.aborted) throw new AbortError(signal?.reason);
      return { reason: 'intr' };
    } finally {
      signal?.removeEventListener('abort', onAbort);
      this.#interrupt = undefined;
      if (this.#closed) this.kernel.release();
    }
  }

  /** KVM_RUN until an exit that `ports` does not answer. An exit of a vCPU that was closed meanwhile is nobody's. */
  async #runUntilExit(first: ExitReply, signal: AbortSignal, ports: CheckedRun['ports']): Promise<VcpuExit> {
    for (let reply: ExitReply | undefined = first; ; ) {
      const exit = await this.#kvmRun(reply, signal);
      if (this.#closed) throw new Refusal('kvm.run.signal');
      reply = exit.reason === 'io' ? answerPort(ports, exit, this.#output) : undefined;
      if (!reply) return exit;
    }
  }

  /** EAGAIN: a vCPU that waited for its start-up IPI has got it. */
  async #kvmRun(reply: ExitReply, signal: AbortSignal): Promise<VcpuExit> {
    for (;;) {
      try {
        return await this.kernel.run({ reply, signal });
      } catch (refusal) {
        if (!(refusal instanceof Refusal) || refusal.errno !== EAGAIN) throw refusal;
      }
    }
  }

  takePortOutput(): Uint8Array {
    return this.#output.take();
  }

  /** The kernel's vCPU goes when its run has ended. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#interrupt) this.#interrupt.abort();
    else this.kernel.release();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

class MockTdxVcpu implements TdxVcpuOps {
  constructor(
    private readonly vcpu: Vcpu,
    private readonly process: MockProcess,
    private readonly demandIdle: () => void,
  ) {}

  #command(request: keyof typeof KVM_TDX, data: Partial<TdxCmdData>, flags = 0, argument = 0n): void {
    const cmd = userValue({ id: KVM_TDX[request], flags, data: argument, hwError: 0n });
    this.vcpu.memoryEncryptOp(cmd, tdxCmdData(data));
  }

  initVcpu(rcx: bigint): void {
    u64('rcx', rcx);
    this.demandIdle();
    issue('KVM_TDX_INIT_VCPU', () => this.#command('INIT_VCPU', {}, 0, rcx));
  }

  initMemRegion(region: TdxMemRegion): void {
    const { source, sourceOffset, gpa, nrPages, measure, onProgress } = memRegion(region, MockGuestMemory);
    this.demandIdle();
    const user = userValue<InitMemRegion>({
      sourceAddr: this.process.addressOf(source, 'region.source') + BigInt(sourceOffset),
      gpa,
      nrPages: 0n,
    });
    const flags = measure ? KVM_TDX_MEASURE_MEMORY_REGION : 0;
    let done = 0;
    do {
      const pages = onProgress ? Math.min(nrPages - done, PAGES_PER_CALL) : nrPages;
      user.value.nrPages = BigInt(pages);
      this.#addPages(user, flags, done);
      done += pages;
      onProgress?.(done);
    } while (done < nrPages);
  }

  /** One KVM_TDX_INIT_MEM_REGION, resumed after EINTR and EAGAIN. @param before pages that earlier calls have added. */
  #addPages(user: UserValue<InitMemRegion> & { value: InitMemRegion }, flags: number, before: number): void {
    const wanted = user.value.nrPages;
    for (let idle = 0, left = wanted; ; ) {
      try {
        this.#command('INIT_MEM_REGION', { memRegion: () => user }, flags);
        return;
      } catch (refusal) {
        if (!(refusal instanceof Refusal)) throw refusal;
        idle = user.value.nrPages < left ? 0 : idle + 1;
        left = user.value.nrPages;
        if (RESUMABLE.has(refusal.errno) && idle <= RESUMES) continue;
        throw kvmError('KVM_TDX_INIT_MEM_REGION', refusal, { pagesDone: before + Number(wanted - left) });
      }
    }
  }

  getCpuid(): CpuidEntry[] {
    this.demandIdle();
    let found: CpuidEntry[] = [];
    const cpuid2 = () => ({
      readNent: () => 0xffff_ffff,
      writeNent: () => {},
      writeEntries: (entries: readonly CpuidEntry[]) => {
        found = [...entries];
      },
    });
    issue('KVM_TDX_GET_CPUID', () => this.#command('GET_CPUID', { cpuid2 }));
    return found;
  }
}
