import { NativeCpuid, type NativeRow, type Values } from './native.js';
import type { CompiledRules } from './rules.js';
import { GUEST_STATE, type Scope } from './scope.js';
import type { XsaveComponent } from './xsave.js';

/** A processor and its firmware as rules see them. */
export interface HostFacts {
  cpuid: readonly NativeRow[];
  /** MSR index to value; missing ones are 0. */
  msr?: Readonly<Record<string, string>>;
  /** What the firmware says. */
  sys?: Readonly<Record<string, unknown>>;
}

const IA32_ARCH_CAPABILITIES = 0x10a;
const TSX_CTRL = 1n << 7n;
const IA32_TSX_CTRL = 0x122;
const TSX_CPUID_CLEAR = 1n << 1n;
const HLE_RTM = (1 << 4) | (1 << 11);

/** What a module knows of the host that it runs on: sampled CPUID, MSRs, and the values of the `host` section. */
export class Host {
  /** Native registers, four an entry, as far as they have been sampled. */
  readonly native: Uint32Array;
  /** The same with constant bits applied (TDH.SYS.CONFIG): what evaluation starts from. */
  readonly sampled: Uint32Array;
  /** Values of the `host` section by slot, in halves. */
  readonly low: Uint32Array;
  readonly high: Uint32Array;
  /** XSAVE components by number. */
  readonly xsave: readonly XsaveComponent[];
  readonly fmsList: readonly number[];
  readonly cpuid: NativeCpuid;
  readonly scope: Scope;
  readonly #msr = new Map<number, bigint>();
  readonly #sys: Readonly<Record<string, unknown>>;

  constructor(
    readonly rules: CompiledRules,
    facts: HostFacts,
  ) {
    const registers = rules.entries.length * 4;
    this.native = new Uint32Array(registers);
    this.sampled = new Uint32Array(registers);
    this.low = new Uint32Array(rules.host.length);
    this.high = new Uint32Array(rules.host.length);
    this.fmsList = rules.fms;
    this.cpuid = new NativeCpuid(facts.cpuid);
    this.#sys = facts.sys ?? {};
    for (const [index, value] of Object.entries(facts.msr ?? {})) this.#msr.set(Number(index), BigInt(value));
    this.xsave = Array.from({ length: 32 }, (_, n) => {
      const [size, offset, flags] = this.cpuid.read(0xd, n);
      return { size, offset, align: (flags & 2) !== 0 };
    });
    this.scope = {
      host: this,
      low: new Uint32Array(rules.fields.length),
      high: new Uint32Array(rules.fields.length),
      virtual: new Uint32Array(registers),
      config: new Uint32Array(registers),
      guest: { low: new Uint32Array(GUEST_STATE.length), high: new Uint32Array(GUEST_STATE.length) },
      params: new Uint8Array(0),
    };
  }

  /** IA32_* by index; those that the host does not have are 0. */
  msr(index: number): bigint {
    return this.#msr.get(index) ?? 0n;
  }

  /** A number or flag that the firmware gives; 0 where it gives none. */
  sys(name: string): number {
    const value = this.#sys[name];
    if (typeof value === 'string') return Number(value) >>> 0;
    return Number(value ?? 0) >>> 0;
  }

  /** Position of the family and model of `fms` in the list of known processors, -1 where it is unknown. */
  fmsPosition(fms: number): number {
    return this.fmsList.findIndex((known) => known >>> 4 === fms >>> 4);
  }

  /**
   * Samples entry `i` as TDH.SYS.INIT does: leaves beyond the processor's last one are zeros, CPUID(1).EAX is the lowest
   * stepping of all packages, and HLE and RTM show although IA32_TSX_CTRL hides them, if the module may clear that.
   */
  sample(i: number): void {
    const { leaf, subleaf } = this.rules.entries[i]!;
    const last = this.cpuid.read(leaf < 0x8000_0000 ? 0 : 0x8000_0000, null)[0];
    if (leaf <= last) this.native.set(this.read(leaf, subleaf), i * 4);
    if (leaf === 1) {
      const fms = this.platformFms();
      if (fms !== undefined) this.native[i * 4] = fms;
    }
  }

  /** Makes zeros of entry `i` where the processor does not support it, after what it requires has been checked. */
  settle(i: number): void {
    const { present } = this.rules.entries[i]!;
    if (present && !present(this.scope)) this.native.fill(0, i * 4, i * 4 + 4);
  }

  /** CPUID as the module reads it on the first logical processor, whose number the topology leaves give. */
  read(leaf: number, subleaf: number | null): Values {
    const [eax, ebx, ecx, edx] = this.cpuid.read(leaf, subleaf);
    if (leaf === 1) return [eax, ebx & 0xff_ffff, ecx, edx];
    if (leaf === 0xb || leaf === 0x1f) return [eax, ebx, ecx, 0];
    const hidden = (this.msr(IA32_TSX_CTRL) & TSX_CPUID_CLEAR) !== 0n;
    if (leaf !== 7 || subleaf !== 0 || !hidden) return [eax, ebx, ecx, edx];
    const cleared = (this.msr(IA32_ARCH_CAPABILITIES) & TSX_CTRL) !== 0n;
    return [eax, cleared ? ebx : ebx & ~HLE_RTM, ecx, edx];
  }

  /** Family, model and lowest stepping of the packages, as the firmware lists them. */
  platformFms(): number | undefined {
    const listed = this.#sys['socket_fms'];
    if (!Array.isArray(listed) || listed.length === 0) return undefined;
    const packages = this.sys('num_pkgs') || listed.length;
    const all = listed.slice(0, packages).map((fms) => Number(fms) >>> 0);
    const stepping = Math.min(...all.map((fms) => fms & 0xf));
    return ((all[0]! & ~0xf) | stepping) >>> 0;
  }

  /** Calculates the `host` section and the values that evaluation starts from; all entries must have been sampled. */
  complete(): void {
    this.rules.host.forEach(({ code }, slot) => {
      const value = code.wide(this.scope);
      this.low[slot] = Number(value & 0xffff_ffffn);
      this.high[slot] = Number(value >> 32n);
    });
    this.rules.entries.forEach((entry, i) => {
      for (let r = 0; r < 4; r++) {
        this.sampled[i * 4 + r] = (this.native[i * 4 + r]! & ~entry.zero[r]!) | entry.one[r]!;
      }
    });
  }
}

/** The host that `facts` describe, sampled whole, whether or not a module would start on it. */
export function sampleHost(rules: CompiledRules, facts: HostFacts): Host {
  const host = new Host(rules, facts);
  for (let i = 0; i < rules.entries.length; i++) {
    host.sample(i);
    host.settle(i);
  }
  host.complete();
  return host;
}
