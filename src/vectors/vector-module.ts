import { loadRules } from '../cpuid/index.js';
import { decodeTdxStatus } from '../kvm/status.js';
import { bootModule, type ModuleBoot } from '../mock/module/boot.js';
import { TdxModule } from '../mock/module/module.js';
import { type SeamcallArgs, type SeamcallResult, TDH } from '../mock/module/seamcall.js';
import { EXTERNAL_INTERRUPT, type OnEnter } from '../mock/module/tdh-vp-enter.js';
import type { Platform } from '../mock/platform.js';

const PAGE = 4096n;

/** A fresh module with its own memory, as vectors of SEAMCALL sequences want it: entered TDs leave at once. */
export class VectorModule {
  /** How often a TD was entered. */
  entries = 0;
  readonly #pages = new Map<bigint, Uint8Array>();
  readonly #module: TdxModule;
  #guest: OnEnter = () => EXTERNAL_INTERRUPT;

  constructor(readonly boot: ModuleBoot) {
    const onEnter: OnEnter = (vcpu) => {
      this.entries++;
      return this.#guest(vcpu);
    };
    this.#module = new TdxModule({ boot, memory: { page: (pa) => this.#page(pa) }, onEnter });
  }

  #page(pa: bigint): Uint8Array {
    let page = this.#pages.get(pa);
    if (!page) {
      page = new Uint8Array(Number(PAGE));
      this.#pages.set(pa, page);
    }
    return page;
  }

  /** Writes into ordinary memory, within a page. */
  write(pa: bigint, bytes: Uint8Array): void {
    const offset = pa % PAGE;
    this.#page(pa - offset).set(bytes, Number(offset));
  }

  call(leaf: number, args: SeamcallArgs): SeamcallResult {
    return this.#module.call(leaf, args);
  }

  /** TDH.VP.ENTER of a VCPU by its TDVPR, with `guest` inside. */
  enter(tdvpr: bigint, guest: OnEnter): SeamcallResult {
    this.#guest = guest;
    return this.call(TDH.VP_ENTER, { rcx: tdvpr });
  }
}

const booted = new WeakMap<Platform, Map<string, ModuleBoot | string>>();

/** A fresh module on a platform, or why it does not start there. */
export function openVectorModule(platform: Platform, version: string): VectorModule | string {
  const versions = booted.get(platform) ?? new Map<string, ModuleBoot | string>();
  booted.set(platform, versions);
  let boot = versions.get(version);
  if (boot === undefined) {
    const result = bootModule(loadRules(version), platform);
    boot = result.ok
      ? result.module
      : `${result.call} refuses platform ${platform.name}: ${decodeTdxStatus(result.status).text}`;
    versions.set(version, boot);
  }
  return typeof boot === 'string' ? boot : new VectorModule(boot);
}
