import { cpuidEntries } from '../kvm/check-cpuid.js';
import { memRegion } from '../kvm/check-memory.js';
import { runOptions } from '../kvm/check-run.js';
import type { CpuidEntry } from '../kvm/cpuid.js';
import { AbortError, KvmError, KvmStateError } from '../kvm/errors.js';
import type { VcpuExit } from '../kvm/exits.js';
import { packRegs, packSregs, unpackRegs, unpackSregs } from '../kvm/registers.js';
import type {
  KvmRegs,
  KvmSregs,
  KvmVcpu,
  KvmVcpuEvents,
  KvmXcr,
  RunOptions,
  TdxMemRegion,
  TdxVcpuOps,
} from '../kvm/vcpu.js';
import { packVcpuEvents, packXcrs, unpackVcpuEvents, unpackXcrs, xsaveBytes } from '../kvm/vcpu-state.js';
import type { HowRunEnded, VcpuHandle } from './addon.js';
import { NativeGuestMemory } from './memory.js';
import { packCpuid, packMsr, packPorts, packTdVmCallInfo, unpackCpuid } from './pack.js';

/**
 * Pages that one KVM_TDX_INIT_MEM_REGION is given when somebody wants to hear of progress: a measured page takes some tens
 * of microseconds, so that is about every 10 ms. Otherwise one call is given all.
 */
export const PAGES_PER_CALL = 256;

class NativeTdxVcpu implements TdxVcpuOps {
  readonly #handle: VcpuHandle;

  constructor(handle: VcpuHandle) {
    this.#handle = handle;
  }

  initVcpu(rcx: bigint): void {
    this.#handle.tdxInitVcpu(rcx);
  }

  initMemRegion(region: TdxMemRegion): void {
    const { source, sourceOffset, gpa, nrPages, measure, onProgress } = memRegion(region, NativeGuestMemory);
    const most = onProgress === undefined ? nrPages : PAGES_PER_CALL;
    let done = 0;
    do {
      const pages = Math.min(nrPages - done, most);
      try {
        this.#handle.tdxInitMemRegion(
          source.handle,
          sourceOffset + done * 4096,
          BigInt.asUintN(64, gpa + BigInt(done) * 4096n),
          pages,
          measure,
        );
      } catch (error) {
        if (!(error instanceof KvmError)) throw error;
        throw withPagesDone(error, done + (error.pagesDone ?? 0));
      }
      done += pages;
      onProgress?.(done);
    } while (done < nrPages);
  }

  getCpuid(): CpuidEntry[] {
    return unpackCpuid(this.#handle.tdxGetCpuid());
  }
}

/** The same refusal, counted from the start of the whole region. */
const withPagesDone = (error: KvmError, pagesDone: number): KvmError =>
  new KvmError({ errno: -error.errno, request: error.request, syscall: error.syscall, pagesDone });

export class NativeVcpu implements KvmVcpu {
  readonly id: number;
  readonly tdx: TdxVcpuOps;
  readonly #handle: VcpuHandle;
  /** Held, because a collected VM closes its vCPUs. */
  readonly parent: object;
  #running = false;

  constructor(handle: VcpuHandle, id: number, parent: object) {
    this.#handle = handle;
    this.parent = parent;
    this.id = id;
    this.tdx = new NativeTdxVcpu(handle);
  }

  get closed(): boolean {
    return this.#handle.isClosed();
  }

  get running(): boolean {
    return this.#running;
  }

  setCpuid2(entries: readonly CpuidEntry[]): void {
    this.#handle.setCpuid2(packCpuid(cpuidEntries('entries', entries)));
  }

  getRegs(): KvmRegs {
    return unpackRegs(this.#handle.getRegs());
  }

  setRegs(regs: KvmRegs): void {
    this.#handle.setRegs(packRegs(regs));
  }

  getSregs(): KvmSregs {
    return unpackSregs(this.#handle.getSregs());
  }

  setSregs(sregs: KvmSregs): void {
    this.#handle.setSregs(packSregs(sregs));
  }

  getXsave(): Uint8Array {
    return this.#handle.getXsave();
  }

  setXsave(xsave: Uint8Array): void {
    this.#handle.setXsave(xsaveBytes(xsave));
  }

  getXcrs(): KvmXcr[] {
    return unpackXcrs(this.#handle.getXcrs());
  }

  setXcrs(xcrs: readonly KvmXcr[]): void {
    this.#handle.setXcrs(packXcrs(xcrs));
  }

  getVcpuEvents(): KvmVcpuEvents {
    return unpackVcpuEvents(this.#handle.getVcpuEvents());
  }

  setVcpuEvents(events: KvmVcpuEvents): void {
    this.#handle.setVcpuEvents(packVcpuEvents(events));
  }

  async run(options: RunOptions = {}): Promise<VcpuExit> {
    const { reply, signal, ports, completeOnly, interruptWindow } = runOptions(options);
    const info = reply.tdVmCallInfo === undefined ? null : packTdVmCallInfo(reply.tdVmCallInfo);
    const msr = reply.msr === undefined ? null : packMsr(reply.msr);
    if (!this.closed && !this.#running && signal?.aborted) throw new AbortError(signal.reason);

    const interrupt = (): void => this.#handle.interrupt();
    try {
      // Before the run: what is no signal after all must not leave a guest that nobody can stop.
      signal?.addEventListener('abort', interrupt, { once: true });
      return await new Promise<VcpuExit>((resolve, reject) => {
        const settle = (how: HowRunEnded, exitOrErrno?: unknown): void => {
          this.#running = false;
          if (how === 'exit') resolve(exitOrErrno as VcpuExit);
          else if (how === 'interrupted') reject(new AbortError(signal?.reason));
          else if (how === 'failed') reject(new KvmError({ errno: exitOrErrno as number, request: 'KVM_RUN' }));
          else reject(new KvmStateError('ERR_KVM_CLOSED', `vCPU ${this.id} was closed while it ran`));
        };
        const enter = !completeOnly;
        const { data = null, ret = null } = reply;
        this.#handle.run(data, ret, info, packPorts(ports), settle, msr, enter, interruptWindow);
        this.#running = true;
      });
    } finally {
      signal?.removeEventListener('abort', interrupt);
    }
  }

  takePortOutput(): Uint8Array {
    return this.#handle.takePortOutput();
  }

  close(): void {
    this.#handle.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
