import type { GuestEngine } from '../guest/engine.js';
import type { ModuleBoot } from './boot.js';
import { MODULE_STOPPED } from './boot-status.js';
import { Call } from './call.js';
import { factsOf } from './facts-of.js';
import type { GuestExit } from './guest-exit.js';
import { enterGuest } from './guest-run.js';
import type { GuestTrace } from './guest-trace.js';
import { initTd as initTdByRules } from './mng-init.js';
import { type InitTd, type ModuleState, newModuleState } from './module-state.js';
import { Refusal, refuse, type SeamcallRuleId } from './refusal.js';
import {
  type EnterHost,
  type HostMemory,
  type Seam,
  type SeamcallArgs,
  type SeamcallResult,
  TDH,
  type VpEnterArgs,
  type VpEnterResult,
} from './seamcall.js';
import { closeGuest, type Td, VCPU_STATE, type Vcpu } from './td.js';
import { mngKeyConfig, mngKeyFreeId, mngKeyReclaimId, mngVpFlushDone, phymemCacheWb } from './tdh-key.js';
import { memPageAdd, memPageAug, memPageRemove } from './tdh-mem-page.js';
import { memRangeBlock, memRangeUnblock, memTrack } from './tdh-mem-range.js';
import { memRdWr } from './tdh-mem-rd-wr.js';
import { memSeptAdd, memSeptRd, memSeptRemove } from './tdh-mem-sept.js';
import { mngAddCx, mngCreate, mngInit } from './tdh-mng.js';
import { mrExtend, mrFinalize } from './tdh-mr.js';
import { phymemPageRdmd, phymemPageReclaim, phymemPageWbinvd } from './tdh-phymem.js';
import { mngRdWr, vpRdWr } from './tdh-rd-wr.js';
import { vpAddCx, vpCreate, vpFlush, vpInit } from './tdh-vp.js';
import { EXTERNAL_INTERRUPT, type OnEnter, plainExit, reenter, type TdExit, vpEnter, vpExit } from './tdh-vp-enter.js';

const LEAVES: Readonly<Record<number, (call: Call) => void>> = {
  [TDH.MNG_ADDCX]: mngAddCx,
  [TDH.MEM_PAGE_ADD]: memPageAdd,
  [TDH.MEM_SEPT_ADD]: memSeptAdd,
  [TDH.VP_ADDCX]: vpAddCx,
  [TDH.MEM_PAGE_AUG]: memPageAug,
  [TDH.MEM_RANGE_BLOCK]: memRangeBlock,
  [TDH.MNG_KEY_CONFIG]: mngKeyConfig,
  [TDH.MNG_CREATE]: mngCreate,
  [TDH.VP_CREATE]: vpCreate,
  [TDH.MNG_RD]: mngRdWr,
  [TDH.MEM_RD]: memRdWr,
  [TDH.MNG_WR]: mngRdWr,
  [TDH.MEM_WR]: memRdWr,
  [TDH.MR_EXTEND]: mrExtend,
  [TDH.MR_FINALIZE]: mrFinalize,
  [TDH.VP_FLUSH]: vpFlush,
  [TDH.MNG_VPFLUSHDONE]: mngVpFlushDone,
  [TDH.MNG_KEY_FREEID]: mngKeyFreeId,
  [TDH.MNG_INIT]: mngInit,
  [TDH.VP_INIT]: vpInit,
  [TDH.PHYMEM_PAGE_RDMD]: phymemPageRdmd,
  [TDH.MEM_SEPT_RD]: memSeptRd,
  [TDH.VP_RD]: vpRdWr,
  [TDH.MNG_KEY_RECLAIMID]: mngKeyReclaimId,
  [TDH.PHYMEM_PAGE_RECLAIM]: phymemPageReclaim,
  [TDH.MEM_PAGE_REMOVE]: memPageRemove,
  [TDH.MEM_SEPT_REMOVE]: memSeptRemove,
  [TDH.MEM_TRACK]: memTrack,
  [TDH.MEM_RANGE_UNBLOCK]: memRangeUnblock,
  [TDH.PHYMEM_CACHE_WB]: phymemCacheWb,
  [TDH.PHYMEM_PAGE_WBINVD]: phymemPageWbinvd,
  [TDH.VP_WR]: vpRdWr,
};

// Leaves with a version 1 in every published module (tdx_vmm_dispatcher.c); TDH.VP.INIT's depends on the module.
const VERSION_1: ReadonlySet<number> = new Set([TDH.MEM_SEPT_ADD, TDH.MEM_SEPT_REMOVE, TDH.MNG_RD, TDH.VP_RD]);

export interface TdxModuleOptions {
  /** The module as `bootModule` started it. */
  boot: ModuleBoot;
  memory: HostMemory;
  /** What TDH.MNG.INIT makes of TD_PARAMS; by default what the rules of `boot` say. */
  initTd?: InitTd;
  /** What executes guests; asked for once, when the first TD is entered. */
  engine?: () => Promise<GuestEngine>;
  /** Hears of every TDCALL, injected exception and TD exit. */
  onGuest?: (trace: GuestTrace) => void;
  /** Stands in for guests where no engine is given; by default every entered TD leaves at once for a host interrupt. */
  onEnter?: OnEnter;
  /** The native time-stamp counter in ticks; by default the process's clock at the platform's frequency. */
  tsc?: () => bigint;
}

/** A VCPU inside its TD: what `enter` gives for a guest that runs elsewhere. */
export interface Entered {
  readonly vcpu: Vcpu;
  /** Ends the SEAMCALL with this exit. Call it exactly once. */
  leave(exit: TdExit): SeamcallResult;
}

/** Intel's TDX module as a state machine that takes SEAMCALLs. */
export class TdxModule implements Seam {
  readonly #state: ModuleState;
  readonly #onEnter: OnEnter;
  readonly #openEngine: (() => Promise<GuestEngine>) | undefined;
  readonly #onGuest: ((trace: GuestTrace) => void) | undefined;
  #engine: Promise<GuestEngine> | undefined;

  constructor({ boot, memory, initTd, engine, onGuest, onEnter = () => EXTERNAL_INTERRUPT, tsc }: TdxModuleOptions) {
    const facts = factsOf(boot);
    const clock = tsc ?? (() => (process.hrtime.bigint() * BigInt(facts.nativeTscFrequency)) / 1_000_000_000n);
    this.#state = newModuleState({
      boot,
      facts,
      memory,
      initTd: initTd ?? ((tdParams, tdcxPages) => initTdByRules(boot, tdParams, tdcxPages)),
      tsc: clock,
    });
    this.#onEnter = onEnter;
    this.#openEngine = engine;
    this.#onGuest = onGuest;
  }

  /** TDs by the address of their TDR. */
  get tds(): ReadonlyMap<number, Td> {
    return this.#state.tds;
  }

  /** Pages that TDs hold. */
  get pagesUsed(): number {
    return this.#state.pamt.used;
  }

  /** Issues a SEAMCALL. Never throws: what the module refuses is in `status`, and the rule it broke in `rule`. */
  call(leaf: number, args: SeamcallArgs): SeamcallResult {
    if (leaf === TDH.VP_ENTER) {
      const entered = this.enter(args);
      return 'status' in entered ? entered : entered.leave(this.#onEnter(entered.vcpu));
    }
    const call = new Call(this.#state, leaf, args);
    try {
      this.#checkLeaf(call);
      (LEAVES[leaf] as (call: Call) => void)(call);
    } catch (refusal) {
      return refused(call, refusal);
    } finally {
      call.locks.release();
    }
    return call.out;
  }

  /** TDH.VP.ENTER in two halves: the refusal, or the entered VCPU. TDR and TDVPR stay locked until it leaves. */
  enter(args: SeamcallArgs): SeamcallResult | Entered {
    const entered = this.#enter(args);
    if ('status' in entered) return entered;
    const { call, vcpu, leave } = entered;
    const finish = (exit: TdExit): SeamcallResult => {
      leave(plainExit(exit));
      return Object.assign(call.out, { rcx: 0n, rdx: 0n, r8: 0n, r9: 0n, r10: 0n, r11: 0n }, exit);
    };
    return { vcpu, leave: finish };
  }

  #enter(args: SeamcallArgs): SeamcallResult | { call: Call; vcpu: Vcpu; leave: (exit: GuestExit) => void } {
    const call = new Call(this.#state, TDH.VP_ENTER, args);
    try {
      this.#checkLeaf(call);
      const vcpu = vpEnter(call);
      const leave = (exit: GuestExit): void => {
        vpExit(vcpu, exit);
        call.locks.release();
      };
      return { call, vcpu, leave };
    } catch (refusal) {
      call.locks.release();
      return refused(call, refusal);
    }
  }

  /**
   * TDH.VP.ENTER with the engine: resolves when the VCPU leaves. Rejects only if the engine does, for instance because it
   * cannot be opened; the VCPU is then outside, as after a host interrupt.
   */
  async vpEnter(args: VpEnterArgs, host: EnterHost): Promise<VpEnterResult> {
    if (!this.#openEngine) return { ...inputsOf(args), ...this.call(TDH.VP_ENTER, args) };
    const entered = this.#enter(args);
    if ('status' in entered) return { ...inputsOf(args), ...entered };
    let exit = LEFT_AT_ONCE;
    try {
      this.#engine ??= this.#openEngine();
      exit = await enterGuest(this.#state, await this.#engine, entered.vcpu, args, host, this.#onGuest);
    } finally {
      entered.leave(exit);
    }
    return exit.registers;
  }

  /** An interrupt for the processor of a VCPU that is inside: what it held of translations is gone when this returns. */
  kick(tdvpr: bigint): void {
    const vcpu = this.#state.vcpus.get(Number(tdvpr));
    if (vcpu?.state === VCPU_STATE.ACTIVE) reenter(vcpu);
  }

  /** Closes what executes guests. No VCPU may be inside. */
  async close(): Promise<void> {
    for (const td of this.tds.values()) closeGuest(td);
    const engine = this.#engine;
    this.#engine = undefined;
    (await engine)?.close();
  }

  #checkLeaf({ leaf, version }: Call): void {
    if (this.#state.stopped) throw new Refusal(MODULE_STOPPED, 'module.call.stopped' satisfies SeamcallRuleId);
    const latest = leaf === TDH.VP_INIT ? this.#state.facts.features.vpInitVersion : VERSION_1.has(leaf) ? 1 : 0;
    if (version > latest) throw refuse('module.call.version');
    if (leaf !== TDH.VP_ENTER && !LEAVES[leaf]) throw refuse('module.call.leaf');
  }
}

const LEFT_AT_ONCE = plainExit(EXTERNAL_INTERRUPT);

/** Registers that a refused TDH.VP.ENTER leaves alone. */
const inputsOf = ({ rbx = 0n, rsi = 0n, rdi = 0n, r12 = 0n, r13 = 0n, r14 = 0n, r15 = 0n }: VpEnterArgs) => ({
  rbx,
  rsi,
  rdi,
  r12,
  r13,
  r14,
  r15,
});

function refused(call: Call, refusal: unknown): SeamcallResult {
  if (!(refusal instanceof Refusal)) throw refusal;
  call.out.status = refusal.status;
  call.out.rule = refusal.rule;
  return call.out;
}
