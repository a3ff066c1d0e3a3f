import { Host, type HostFacts, sampleHost } from '../host.js';
import type { CompiledRules } from '../rules.js';
import { and, type Bits, known, not, or, U32, UNKNOWN } from './bits.js';
import type { PartialScope } from './compile.js';
import { type PartialRules, partialRules } from './rules.js';

/**
 * What is known of a host. Without `cpuid` no native value is known but those in `native`; without `msr` or `sys` no
 * MSR and nothing that the firmware says.
 */
export interface HostKnowledge extends Partial<HostFacts> {
  /** Single native bits that are known without `cpuid`: registers by entry, four each. */
  native?: readonly (Bits | undefined)[];
}

const REGISTER: Bits = { value: 0n, unknown: U32, guest: 0n };
const HLE_RTM = 0x810n;

/** A register of which the bits of `mask` are certain. */
const withCertain = ({ value, unknown, guest }: Bits, mask: bigint, bits: bigint): Bits => ({
  value: (value & ~mask) | (bits & mask),
  unknown: unknown & ~mask,
  guest,
});

/** A host as far as it is known, for the rules of one module version. */
export class PartialHost {
  readonly partial: PartialRules;
  /** By entry, four each: what the processor has, and the same with constant bits applied. */
  readonly native: readonly Bits[];
  readonly sampled: readonly Bits[];
  /** Values of the `host` section. */
  readonly values: ReadonlyMap<string, Bits>;
  /** The exact host, where its CPUID is known whole. */
  readonly exact: Host | undefined;
  /** Nothing is unknown: the exact host answers. */
  readonly whole: boolean;
  readonly #knowledge: HostKnowledge;

  constructor(
    readonly rules: CompiledRules,
    knowledge: HostKnowledge,
  ) {
    this.#knowledge = knowledge;
    this.whole = [knowledge.cpuid, knowledge.msr, knowledge.sys].every((part) => part !== undefined);
    this.partial = partialRules(rules);
    const { cpuid } = knowledge;
    if (cpuid) {
      this.exact = sampleHost(rules, { ...knowledge, cpuid });
      this.native = Array.from(this.exact.native, (value) => known(BigInt(value)));
      if (!knowledge.msr) this.native = this.#withHiddenTsx(this.native);
    } else {
      // The module runs: the processor is as TDH.SYS.INIT demands, unless what it found was dropped afterwards.
      this.native = rules.entries.flatMap(({ verifyMask, verifyValue, present }, i) =>
        [0, 1, 2, 3].map((r) =>
          withCertain(
            knowledge.native?.[i * 4 + r] ?? REGISTER,
            BigInt(present ? 0 : verifyMask[r]!),
            BigInt(verifyValue[r]!),
          ),
        ),
      );
    }
    this.sampled = rules.entries.flatMap(({ zero, one }, i) =>
      [0, 1, 2, 3].map((r) => or(and(this.native[i * 4 + r]!, known(BigInt(~zero[r]! >>> 0))), known(BigInt(one[r]!)))),
    );
    const values = new Map<string, Bits>();
    const scope = this.scope(values, [], [], () => UNKNOWN);
    for (const { name, code } of this.partial.host) values.set(name, code(scope));
    this.values = values;
  }

  /** Without MSRs nobody knows whether IA32_TSX_CTRL hides TSX from CPUID. */
  #withHiddenTsx(native: readonly Bits[]): readonly Bits[] {
    const at = this.rules.find(7, 0);
    if (at === undefined) return native;
    const ebx = native[at * 4 + 1]!;
    const hidden = { value: ebx.value, unknown: HLE_RTM & not(ebx).value, guest: 0n };
    return native.map((register, slot) => (slot === at * 4 + 1 ? hidden : register));
  }

  msr = (index: number): Bits => {
    const { msr } = this.#knowledge;
    if (!msr) return UNKNOWN;
    const value = msr[`0x${index.toString(16)}`] ?? (this.exact ? this.exact.msr(index) : 0n);
    return known(BigInt(value));
  };

  sys = (name: string): Bits => {
    if (!this.#knowledge.sys) return { value: 0n, unknown: U32, guest: 0n };
    return known(BigInt(new Host(this.rules, { cpuid: [], sys: this.#knowledge.sys }).sys(name)));
  };

  scope(
    names: Map<string, Bits>,
    virtual: Bits[],
    config: readonly Bits[],
    zeros: PartialScope['zeros'],
  ): PartialScope {
    return { names, native: this.native, virtual, config, msr: this.msr, sys: this.sys, zeros, host: this.exact };
  }
}
