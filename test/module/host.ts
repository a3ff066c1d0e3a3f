import { loadRules } from '../../src/cpuid/index.js';
import { decodeTdxStatus } from '../../src/kvm/status.js';
import { bootModule } from '../../src/mock/module/boot.js';
import { TdxModule, type TdxModuleOptions } from '../../src/mock/module/module.js';
import { type SeamcallArgs, type SeamcallResult, TDH } from '../../src/mock/module/seamcall.js';
import { loadPlatform } from '../../src/mock/platforms.js';
import { type TdParamsFields, vectorTdParams } from '../../src/vectors/td-params.js';

const PAGE = 4096n;
const TD_PARAMS = 0x100_0000n;
/** A page of ordinary memory to add pages from. */
export const SOURCE = 0x101_0000n;

/** A host with a TDX module of its own, as tests need it. */
export class Host {
  readonly module: TdxModule;
  readonly memory = new Map<bigint, Uint8Array>();
  #next = 0x1_0020_0000n;

  constructor(version = '1.5.06', options: Partial<TdxModuleOptions> = {}, platform = loadPlatform('spr')) {
    const boot = bootModule(loadRules(version), platform);
    if (!boot.ok) throw new Error(decodeTdxStatus(boot.status).text);
    this.module = new TdxModule({ boot: boot.module, memory: { page: (pa) => this.page(pa) }, ...options });
  }

  page(pa: bigint): Uint8Array {
    const page = this.memory.get(pa) ?? new Uint8Array(Number(PAGE));
    this.memory.set(pa, page);
    return page;
  }

  /** The address of a page of the TDMR that was not used before. */
  fresh(): bigint {
    this.#next += PAGE;
    return this.#next;
  }

  call(leaf: number, args: SeamcallArgs = {}): SeamcallResult {
    return this.module.call(leaf, args);
  }

  /** The status in words, as `TDX_OPERAND_BUSY, operand RCX`. */
  status(leaf: number, args: SeamcallArgs = {}): string {
    return decodeTdxStatus(this.call(leaf, args).status).text.replace(/ \(0x[0-9a-f]+\)/, '');
  }

  must(leaf: number, args: SeamcallArgs): SeamcallResult {
    const result = this.call(leaf, args);
    if (result.status !== 0n) throw new Error(`leaf ${leaf}: ${decodeTdxStatus(result.status).text}`);
    return result;
  }

  /** A TD after TDH.MNG.INIT. */
  td(params: TdParamsFields = {}, hkid = 33n): bigint {
    return this.tdOf(vectorTdParams(params), 6, hkid);
  }

  /** The same with the bytes of TD_PARAMS. */
  tdOf(params: Uint8Array, tdcxPages = 6, hkid = 33n): bigint {
    const tdr = this.fresh();
    this.must(TDH.MNG_CREATE, { rcx: tdr, rdx: hkid });
    this.must(TDH.MNG_KEY_CONFIG, { rcx: tdr });
    for (let i = 0; i < tdcxPages; i++) this.must(TDH.MNG_ADDCX, { rcx: this.fresh(), rdx: tdr });
    this.page(TD_PARAMS).set(params);
    this.must(TDH.MNG_INIT, { rcx: tdr, rdx: TD_PARAMS });
    return tdr;
  }

  /** A VCPU of `tdr` after TDH.VP.INIT, of version 1 with an x2APIC id. */
  vcpu(tdr: bigint, initial = 0n, x2apicId?: bigint, l2Vms = 0): bigint {
    const tdvpr = this.fresh();
    this.must(TDH.VP_CREATE, { rcx: tdvpr, rdx: tdr });
    for (let i = 1; i < 6 + 3 * l2Vms; i++) this.must(TDH.VP_ADDCX, { rcx: this.fresh(), rdx: tdvpr });
    this.must(TDH.VP_INIT, { rcx: tdvpr, rdx: initial, ...(x2apicId !== undefined && { version: 1, r8: x2apicId }) });
    return tdvpr;
  }

  /** The tables for GPA 0 to 2 MiB. */
  tables(tdr: bigint): void {
    for (const level of [3n, 2n, 1n]) this.must(TDH.MEM_SEPT_ADD, { rcx: level, rdx: tdr, r8: this.fresh() });
  }

  add(tdr: bigint, gpa: bigint): bigint {
    const page = this.fresh();
    this.must(TDH.MEM_PAGE_ADD, { rcx: gpa, rdx: tdr, r8: page, r9: SOURCE });
    return page;
  }
}

export { TDH };
