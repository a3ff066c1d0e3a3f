// Kernels whose KVM emulates privileged code let the processor itself execute CPL 3. So a guest's 64-bit code of CPL 0 runs
// at CPL 3 here, on page tables of the engine's own. Whatever CPL 3 may not do is an exception, which KVM finds no way to
// deliver (see `sregsFor`) and leaves KVM_RUN with; software answers it on the guest's true registers.
//
// What stays visible to the guest, until Discovery has found and replaced the instruction: PUSHF shows IF set, POPF does not
// change IF and IOPL, MOV from a segment register shows this host's selectors, CPUID, LAR and LSL are this host's, and
// SYSCALL is lost. SMSW shows a CR0 without CD, NW and AM, VERR and VERW ask this host's descriptors.
import { PAGE_SIZE } from '../../../../kvm/constants.js';
import { GPRS } from '../../../../kvm/gprs.js';
import type { KvmSregs } from '../../../../kvm/index.js';
import { CR0_PG, CR4_FSGSBASE, IF } from '../../cpu/bits.js';
import {
  type CpuState,
  deliverException,
  EptViolation,
  GuestFault,
  raise,
  Stuck,
  signed,
  TripleFault,
} from '../../cpu/index.js';
import type { Access, GuestEvent } from '../../engine.js';
import type { Insn } from '../../interpreter/decode.js';
import { iced } from '../../interpreter/iced.js';
import { codeAddress, decodeAt } from '../code.js';
import { portWriteIn } from '../patches.js';
import { stepInSoftware } from '../step.js';
import type { KvmEngineVcpu } from '../vcpu.js';
import { pagingContext, regsFor, sregsFor, supervisorSregs, takeFlags } from './context.js';
import { fill } from './fill.js';
import type { Region, Service } from './region.js';
import { replacedBy } from './revealing.js';
import { Tables } from './tables.js';
import { type Trapped, trappedException } from './trap.js';

const [DE, DB, BP, BR, UD, NM, GP, PF, MF, AC, XM] = [0, 1, 3, 5, 6, 7, 13, 14, 16, 17, 19];
/** Exceptions that are the guest's own whatever the privilege. */
const OWN = new Set<number>([DE, BR, NM, MF, AC, XM]);
const INT1 = 0xf1;
/** By far the most frequent ones. */
const [CLI, STI] = [0xfa, 0xfb];
const TDCALL = [0x66, 0x0f, 0x01, 0xcc];
const RAX = 0;
const RCX = 1;
const RDX = 2;
const PF_WRITE = 2;
const PF_FETCH = 16;

/**
 * MSRs that KVM keeps for this vCPU: TSC, SPEC_CTRL, PRED_CMD, SYSENTER's, PAT, DS_AREA, XSS, STAR, LSTAR, FMASK,
 * KERNEL_GS_BASE, TSC_AUX. EFER and the bases of FS and GS are in software.
 */
const KEPT_BY_KVM = new Set([
  ...[0x10, 0x48, 0x49, 0x174, 0x175, 0x176, 0x277, 0x600, 0xda0],
  ...[0xc000_0081, 0xc000_0082, 0xc000_0084, 0xc000_0102, 0xc000_0103],
]);

export class Deprivileged {
  readonly #region: Region;
  readonly #tables: Tables;
  #context = '';
  #generation = -1;
  #stale = true;
  /** Whether KVM has the registers of deprivileged code. */
  active = false;
  /** Special registers, as they are to be given to KVM again; undefined: they are to be made. */
  #sregs: KvmSregs | undefined;
  #given = false;

  constructor(
    private readonly vcpu: KvmEngineVcpu,
    index: number,
  ) {
    this.#region = vcpu.td.newRegion(index);
    this.#tables = new Tables(this.#region);
  }

  /** Whether the guest's next instruction is one for here. */
  static suits({ in64, cpl, cr0 }: CpuState): boolean {
    return in64 && cpl === 0 && (cr0 & CR0_PG) !== 0;
  }

  /** The registers in software have changed otherwise than by deprivileged code. */
  changed(): void {
    this.#sregs = undefined;
  }

  /** Gives the registers to KVM. */
  push(before: KvmSregs): void {
    const { state, kvm, td } = this.vcpu;
    const context = pagingContext(state);
    if (this.#stale || context !== this.#context || this.#generation !== td.code.generation) {
      this.#stale = false;
      this.#context = context;
      this.#generation = td.code.generation;
      this.#tables.flush();
      this.#sregs = undefined;
    }
    if (this.#sregs === undefined || !this.#given || !this.active) {
      this.#sregs ??= sregsFor(state, before, this.#tables.root);
      kvm.setSregs(this.#sregs);
    }
    this.#given = true;
    this.active = true;
    kvm.setRegs(regsFor(state));
  }

  /** Takes the registers from KVM. */
  pull(): void {
    const { state, kvm } = this.vcpu;
    const regs = kvm.getRegs();
    if ((state.cr4 & CR4_FSGSBASE) !== 0) {
      const { fs, gs } = kvm.getSregs();
      state.fs.base = signed(fs.base);
      state.gs.base = signed(gs.base);
    }
    for (const [n, name] of GPRS.entries()) state.gprs[n] = regs[name];
    state.rip = regs.rip;
    state.shadowIp = Number.NaN;
    takeFlags(state, regs.rflags);
  }

  /** After a run that was interrupted: an exception that KVM has begun is forgotten, its instruction is executed again. */
  stopped(): void {
    const { kvm } = this.vcpu;
    const events = kvm.getVcpuEvents();
    if (events.exception.injected === 0 && events.exception.pending === 0) return;
    kvm.setVcpuEvents({ ...events, exception: { ...events.exception, injected: 0, pending: 0 } });
  }

  /** What an exception of deprivileged code leads to: an event, or nothing where the guest goes on. */
  async trapped(): Promise<GuestEvent | undefined> {
    this.pull();
    const trapped = trappedException(this.vcpu.kvm);
    try {
      return await this.#answer(trapped);
    } catch (error) {
      if (error instanceof TripleFault) return { kind: 'triple-fault' };
      if (error instanceof Stuck) return this.vcpu.stuck(error.why);
      if (!(error instanceof EptViolation)) throw error;
      const { gpa, gla, access } = error;
      const { vector, errorCode } = trapped;
      const delivering = { vector, ...(errorCode !== undefined && { errorCode }) };
      return { kind: 'ept-violation', gpa, gla, access, length: 0, delivering };
    }
  }

  async #answer(trapped: Trapped): Promise<GuestEvent | undefined> {
    const { state, kvm } = this.vcpu;
    const { vector } = trapped;
    if (vector === PF) return this.#pageFault(trapped.errorCode ?? 0, signed(kvm.getSregs().cr2));
    if (vector === BP) state.ip -= 1;
    const isTrap = vector === DB && this.vcpu.bytesAt()[0] !== INT1;
    if (isTrap || OWN.has(vector)) return this.#deliver(trapped);
    return await this.#privileged(trapped);
  }

  /** The guest's own exception, for its handler. */
  #deliver({ vector, errorCode }: Trapped): undefined {
    const { state, td } = this.vcpu;
    this.#sregs = undefined;
    deliverException(state, td.software, vector, errorCode);
  }

  #pageFault(errorCode: number, linear: number): GuestEvent | undefined {
    const { state, td } = this.vcpu;
    const access: Access = (errorCode & PF_FETCH) !== 0 ? 'execute' : (errorCode & PF_WRITE) !== 0 ? 'write' : 'read';
    try {
      const gpa = td.observer.find(state, linear, access);
      if (access === 'execute' && gpa !== undefined && td.software.isShared(gpa)) {
        return { kind: 'ept-violation', gpa, gla: BigInt.asUintN(64, BigInt(linear)), access, length: 0 };
      }
      if (access === 'execute') td.discovery.explore(state, linear, 64);
      const { root } = this.#tables;
      const filled = fill(td, state, this.#tables, td.code, linear, access);
      if (root !== this.#tables.root) this.#sregs = undefined;
      if (filled) return undefined;
    } catch (error) {
      if (error instanceof GuestFault) {
        this.#sregs = undefined;
        raise(state, td.software, error);
        return undefined;
      }
      if (!(error instanceof EptViolation)) throw error;
    }
    const insn = decodeAt(state, this.vcpu.bytesAt(), state.ip);
    return this.#step(typeof insn === 'string' ? undefined : insn);
  }

  /** An instruction that CPL 3 has no right to, or none at all. */
  async #privileged(trapped: Trapped): Promise<GuestEvent | undefined> {
    const { state } = this.vcpu;
    this.#adoptReplacement(trapped.vector);
    const bytes = this.vcpu.bytesAt();
    if (TDCALL.every((byte, i) => bytes[i] === byte)) return { kind: 'tdcall', length: TDCALL.length };
    if (bytes[0] === CLI || bytes[0] === STI) return this.#setInterrupts(bytes[0] === STI);
    const insn = decodeAt(state, bytes, state.ip);
    // More bytes may lie in a page that is not there; then the processor has faulted for that.
    if (typeof insn === 'string') return this.#deliver(trapped);
    if (insn.name === 'Rdmsr' || insn.name === 'Wrmsr') {
      const index = Number((state.gprs[RCX] as bigint) & 0xffff_ffffn);
      if (KEPT_BY_KVM.has(index)) return await this.#msr(insn.name === 'Rdmsr' ? 'rdmsr' : 'wrmsr');
    }
    if (/^Inv(?:lpg|pcid)$/.test(insn.name) || insn.code.startsWith('Mov_cr')) this.#stale = true;
    const event = this.#step(insn);
    return event?.kind === 'stuck' && !isPrivileged(bytes) ? this.#deliver(trapped) : event;
  }

  /** CPL 0 may, whatever IOPL is. */
  #setInterrupts(enabled: boolean): undefined {
    const { state } = this.vcpu;
    const before = state.flags;
    state.flags = (enabled ? before | IF : before & ~IF) >>> 0;
    state.ip += 1;
    if (enabled && (before & IF) === 0) state.shadowIp = state.ip;
  }

  /** The guest may have copied code with replaced instructions: this one is known from now on. */
  #adoptReplacement(vector: number): void {
    const { state, td } = this.vcpu;
    const bytes = this.vcpu.bytesAt();
    const original = vector === UD ? replacedBy(bytes) : undefined;
    const form = original ? { original, patched: [...bytes.subarray(0, original.length)] } : portWriteIn(bytes);
    const gpa = td.observer.find(state, codeAddress(state), 'execute');
    if (form === undefined || gpa === undefined || (gpa % PAGE_SIZE) + form.original.length > PAGE_SIZE) return;
    td.patches.adopt(gpa, form);
  }

  #step(insn?: Insn): GuestEvent | undefined {
    return stepInSoftware(this.vcpu, insn);
  }

  /** KVM itself executes it, at CPL 0 in the engine's memory. */
  async #msr(name: Service): Promise<GuestEvent | undefined> {
    const { state, kvm } = this.vcpu;
    const { rip, done } = this.#region.service(name);
    kvm.setSregs(supervisorSregs(kvm.getSregs()));
    kvm.setRegs({ ...regsFor(state), rip, rflags: 2n });
    this.#given = false;
    const { reason } = await kvm.run();
    if (reason === 'x86-rdmsr' || reason === 'x86-wrmsr') {
      await this.vcpu.complete({ msr: { error: false } });
      return { kind: 'instruction', name, length: 2 };
    }
    const regs = kvm.getRegs();
    if (reason !== 'hlt' || regs.rip !== done) return this.#deliver({ vector: GP, errorCode: 0 });
    if (name === 'rdmsr') {
      state.gprs[RAX] = regs.rax;
      state.gprs[RDX] = regs.rdx;
    }
    state.ip += 2;
    return undefined;
  }
}

function isPrivileged(bytes: Uint8Array): boolean {
  const { Decoder } = iced();
  const decoder = new Decoder(64, bytes, 0);
  const insn = decoder.decode();
  try {
    return insn.isPrivileged;
  } finally {
    insn.free();
    decoder.free();
  }
}
