import { TDX_STATUS } from '../../kvm/status.js';
import {
  type EnterHost,
  type Seam,
  type SeamcallArgs,
  type SeamcallResult,
  TDH,
  type VpEnterResult,
} from '../module/seamcall.js';
import type { Registers } from './run/registers.js';

/** RDRAND_RETRY_LOOPS. */
const TRIES = 10;

/** One try of a SEAMCALL, for whoever watches the model. */
export interface SeamcallTrace {
  leaf: number;
  args: SeamcallArgs;
  result: SeamcallResult;
  /** True where a fault on demand answered in place of the TDX module. */
  injected: boolean;
}

/** Answers a SEAMCALL in the TDX module's place, or undefined to let it through. */
export type SeamcallFault = (leaf: number) => bigint | undefined;

const none = { rcx: 0n, rdx: 0n, r8: 0n, r9: 0n, r10: 0n, r11: 0n };

/** A page with the KeyID in the upper bits of its address. */
export type KeyedAddress = (pa: bigint, hkid: number) => bigint;

/**
 * The kernel's wrappers around SEAMCALLs (arch/x86/virt/vmx/tdx/tdx.c, tdh_*). Each tries up to ten times while the
 * processor is out of entropy. Those that return outputs overwrite their arguments with them, so a second try of
 * TDH.MNG.INIT passes 0 for the TDR: that is the kernel's behaviour, and why no entropy there ends in EIO.
 */
export class Seamcalls {
  #count = 0;

  constructor(
    /** Undefined where no TDX module has started; then nobody makes SEAMCALLs. */
    private readonly seam: Seam | undefined,
    private readonly fault: SeamcallFault,
    private readonly watch: (trace: SeamcallTrace) => void,
    private readonly keyed: KeyedAddress,
    private readonly globalHkid: number,
  ) {}

  /** SEAMCALLs made so far. */
  get count(): number {
    return this.#count;
  }

  mngCreate = (tdr: bigint, hkid: number) => this.#call(TDH.MNG_CREATE, { rcx: tdr, rdx: BigInt(hkid) });
  mngKeyConfig = (tdr: bigint, pkg: number) => this.#call(TDH.MNG_KEY_CONFIG, { rcx: tdr, package: pkg });
  mngAddCx = (tdr: bigint, page: bigint) => this.#call(TDH.MNG_ADDCX, { rcx: page, rdx: tdr });
  mngInit = (tdr: bigint, tdParams: bigint) => this.#callRet(TDH.MNG_INIT, { rcx: tdr, rdx: tdParams });
  mngRd = (tdr: bigint, field: bigint) => this.#callRet(TDH.MNG_RD, { rcx: tdr, rdx: field });
  mngVpFlushDone = (tdr: bigint) => this.#call(TDH.MNG_VPFLUSHDONE, { rcx: tdr });
  mngKeyFreeId = (tdr: bigint) => this.#call(TDH.MNG_KEY_FREEID, { rcx: tdr });
  vpCreate = (tdr: bigint, tdvpr: bigint) => this.#call(TDH.VP_CREATE, { rcx: tdvpr, rdx: tdr });
  vpAddCx = (tdvpr: bigint, page: bigint) => this.#call(TDH.VP_ADDCX, { rcx: page, rdx: tdvpr });
  vpInit = (tdvpr: bigint, rcx: bigint, x2apicId: number) =>
    this.#call(TDH.VP_INIT, { version: 1, rcx: tdvpr, rdx: rcx, r8: BigInt(x2apicId) });
  vpRd = (tdvpr: bigint, field: bigint) => this.#callRet(TDH.VP_RD, { rcx: tdvpr, rdx: field });
  vpWr = (tdvpr: bigint, field: bigint, value: bigint, mask: bigint) =>
    this.#call(TDH.VP_WR, { rcx: tdvpr, rdx: field, r8: value, r9: mask });
  vpFlush = (tdvpr: bigint) => this.#call(TDH.VP_FLUSH, { rcx: tdvpr });
  memSeptAdd = (tdr: bigint, gpa: bigint, level: number, page: bigint) =>
    this.#callRet(TDH.MEM_SEPT_ADD, { rcx: gpa | BigInt(level), rdx: tdr, r8: page });
  memPageAdd = (tdr: bigint, gpa: bigint, page: bigint, source: bigint) =>
    this.#callRet(TDH.MEM_PAGE_ADD, { rcx: gpa, rdx: tdr, r8: page, r9: source });
  memPageAug = (tdr: bigint, gpa: bigint, page: bigint) =>
    this.#callRet(TDH.MEM_PAGE_AUG, { rcx: gpa, rdx: tdr, r8: page });
  mrExtend = (tdr: bigint, gpa: bigint) => this.#callRet(TDH.MR_EXTEND, { rcx: gpa, rdx: tdr });
  mrFinalize = (tdr: bigint) => this.#call(TDH.MR_FINALIZE, { rcx: tdr });
  memRangeBlock = (tdr: bigint, gpa: bigint) => this.#callRet(TDH.MEM_RANGE_BLOCK, { rcx: gpa, rdx: tdr });
  memTrack = (tdr: bigint) => this.#call(TDH.MEM_TRACK, { rcx: tdr });
  memPageRemove = (tdr: bigint, gpa: bigint) => this.#callRet(TDH.MEM_PAGE_REMOVE, { rcx: gpa, rdx: tdr });
  phymemCacheWb = (resume: boolean, pkg: number) =>
    this.#call(TDH.PHYMEM_CACHE_WB, { rcx: resume ? 1n : 0n, package: pkg });
  phymemPageReclaim = (page: bigint) => this.#callRet(TDH.PHYMEM_PAGE_RECLAIM, { rcx: page });
  phymemPageWbinvd = (page: bigint, hkid: number) =>
    this.#call(TDH.PHYMEM_PAGE_WBINVD, { rcx: this.keyed(page, hkid) });
  phymemPageWbinvdTdr = (tdr: bigint) => this.phymemPageWbinvd(tdr, this.globalHkid);

  /** TDH.VP.ENTER: settles when the guest has left. A fault on demand leaves the registers as they are. */
  async vpEnter(args: Registers, host: EnterHost): Promise<VpEnterResult> {
    this.#count++;
    const status = this.fault(TDH.VP_ENTER);
    const injected = status !== undefined;
    const result = injected ? { ...args, status } : await this.seam!.vpEnter(args, host);
    this.watch({ leaf: TDH.VP_ENTER, args, result, injected });
    return result;
  }

  /** An interrupt for the processor that runs a vCPU: it leaves its guest, if it is inside, and comes back. */
  kick(tdvpr: bigint): void {
    this.seam?.kick(tdvpr);
  }

  /** seamcall(): arguments stay as they are between tries. */
  #call(leaf: number, args: SeamcallArgs & { package?: number }): SeamcallResult {
    for (let left = TRIES; ; left--) {
      const result = this.#once(leaf, args);
      if (result.status !== TDX_STATUS.TDX_RND_NO_ENTROPY || left === 1) return result;
    }
  }

  /** seamcall_ret(): outputs replace the arguments, also between tries. */
  #callRet(leaf: number, args: SeamcallArgs): SeamcallResult {
    for (let left = TRIES, now = args; ; left--) {
      const result = this.#once(leaf, now);
      if (result.status !== TDX_STATUS.TDX_RND_NO_ENTROPY || left === 1) return result;
      const { rcx, rdx, r8, r9, r10, r11 } = result;
      now = { rcx, rdx, r8, r9, r10, r11 };
    }
  }

  #once(leaf: number, args: SeamcallArgs): SeamcallResult {
    this.#count++;
    const status = this.fault(leaf);
    const injected = status !== undefined;
    const result = injected ? { status, ...none } : this.seam!.call(leaf, args);
    this.watch({ leaf, args, result, injected });
    return result;
  }
}
