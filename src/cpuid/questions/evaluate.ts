import { RULES, type RuleId } from '../../rulebook/index.js';
import { GPAW_MASK } from '../../td/cpuid-entries.js';
import { type Finding, finding } from '../../td/finding.js';
import type { ResolvedTd } from '../../td/resolve.js';
import type { TdConfig } from '../../td/schema.js';
import { validateTd } from '../../td/validate.js';
import { REGISTERS } from '../expression/ast.js';
import { type CpuidRegister, featureAtBit } from '../names.js';
import { bitOrigin } from '../origin.js';
import { type Bits, isKnown } from '../partial/bits.js';
import { evaluateParams, type GuestView, type PartialResult, partialGuest } from '../partial/evaluate.js';
import type { PartialHost } from '../partial/host.js';
import type { CompiledRules } from '../rules.js';
import { evaluateWithoutRules } from './capabilities-only.js';
import {
  bitValue,
  type CpuidBit,
  type CpuidEvaluation,
  type CpuidRegisterView,
  type RegisterBits,
} from './evaluation.js';
import type { CpuidHost } from './host.js';
import { partialHost } from './knowledge.js';
import { reasonOf } from './reason.js';
import { isRefusedByKvm } from './refusals.js';
import { type AskedTd, askTd } from './td-params.js';

export interface EvaluateOptions {
  /** The vCPU whose CPUID is asked for, which shows in APIC ids. Default 0. */
  vcpu?: number;
}

const ALL: RegisterBits = { value: 0, unknown: 0, guest: 0xffff_ffff };

const toRegister = ({ value, unknown, guest }: Bits): RegisterBits => ({
  value: Number(value & 0xffff_ffffn),
  unknown: Number(unknown & 0xffff_ffffn),
  guest: Number(guest & 0xffff_ffffn),
});

/** What a guest finds where CPUID may give a #VE: there, its handler decides. */
function seen({ ve, registers }: GuestView, r: number): RegisterBits {
  const plain = toRegister(registers[r]!);
  if (isKnown(ve)) return ve.value ? ALL : plain;
  return ve.unknown ? { value: 0, unknown: 0xffff_ffff, guest: 0 } : ALL;
}

/** A rule that the module's logic refuses by, as a finding. */
function refusalFinding({ rule, rcx }: NonNullable<PartialResult['refusal']>): Finding {
  const leaf = `0x${(rcx & 0xffff_ffffn).toString(16)}`;
  const what = rcx === 0n ? 'TDH.MNG.INIT refuses it' : `TDH.MNG.INIT refuses CPUID leaf ${leaf}`;
  const known = rule in RULES ? (rule as RuleId) : 'module.mng-init.cpuid-config';
  return finding(known, '', 'error', what);
}

class Evaluated implements CpuidEvaluation {
  readonly result: PartialResult;
  readonly undecided: readonly string[];
  readonly #views = new Map<number, GuestView>();
  #registers: readonly CpuidRegisterView[] | undefined;
  #findings: readonly Finding[] | undefined;

  constructor(
    readonly host: CpuidHost,
    readonly config: TdConfig,
    readonly partial: PartialHost,
    readonly asked: AskedTd,
    readonly vcpu: number,
  ) {
    this.result = evaluateParams(partial, asked.params);
    this.undecided = [...new Set(this.result.open.map(({ rule }) => rule))];
  }

  get findings(): readonly Finding[] {
    const { refusal } = this.result;
    if (!this.#findings) {
      const said = this.host.facts ? validateTd(this.config, this.host.facts) : [];
      const own = refusal && !said.some(({ rule }) => rule === refusal.rule) ? [refusalFinding(refusal)] : [];
      this.#findings = [...own, ...said];
    }
    return this.#findings;
  }

  get accepted(): boolean | 'unknown' {
    if (this.result.refusal !== undefined || this.findings.some(isRefusedByKvm)) return false;
    return this.undecided.length > 0 ? 'unknown' : true;
  }

  get resolved(): ResolvedTd {
    return this.asked.resolved;
  }

  get registers(): readonly CpuidRegisterView[] {
    const { rules } = this.partial;
    this.#registers ??= rules.listed.flatMap((i) => REGISTERS.map((_, r) => this.view(i, r)));
    return this.#registers;
  }

  view(i: number, r: number): CpuidRegisterView {
    const { leaf, subleaf, faulting } = this.partial.rules.entries[i]!;
    const guest = seen(this.#guest(i), r);
    const register = REGISTERS[r]!;
    return { leaf, subleaf, register, stored: faulting ? undefined : this.#stored(i, r), guest };
  }

  /** KVM shows the GPAW of the TD where it takes it. */
  #stored(i: number, r: number): RegisterBits {
    const plain = toRegister(this.result.virtual[i * 4 + r]!);
    if (this.partial.rules.entries[i]!.leaf !== 0x8000_0008 || r !== 0) return plain;
    const { value, unknown, guest } = plain;
    const gpaw = this.asked.resolved.gpaw << 16;
    return { value: ((value & ~GPAW_MASK) | gpaw) >>> 0, unknown: (unknown & ~GPAW_MASK) >>> 0, guest };
  }

  #guest(i: number): GuestView {
    let view = this.#views.get(i);
    if (!view) {
      view = partialGuest(this.partial, this.asked.params, this.result.virtual, i, this.vcpu);
      this.#views.set(i, view);
    }
    return view;
  }

  /** Position of the entry that answers. */
  find(leaf: number, subleaf: number): number | undefined {
    const { rules } = this.partial;
    return rules.find(leaf, null) ?? rules.find(leaf, subleaf);
  }

  register(leaf: number, subleaf: number, register: CpuidRegister): CpuidRegisterView | undefined {
    const i = this.find(leaf, subleaf);
    return i === undefined ? undefined : this.view(i, REGISTERS.indexOf(register));
  }

  bit(leaf: number, subleaf: number, register: CpuidRegister, bit: number): CpuidBit | undefined {
    const i = this.find(leaf, subleaf);
    if (i === undefined) return undefined;
    const r = REGISTERS.indexOf(register);
    const view = this.view(i, r);
    const origin = bitOrigin(this.partial.partial, i, r, bit);
    const feature = featureAtBit(leaf, subleaf, register, bit);
    const stored = view.stored && (bitValue(view.stored, bit) as 0 | 1 | 'unknown');
    const { virtual } = this.result;
    const context = { partial: this.partial, params: this.asked.params, virtual, entry: i, register: r, bit, origin };
    return {
      leaf,
      subleaf: view.subleaf,
      register,
      bit,
      ...(feature && { name: feature.name }),
      value: bitValue(view.guest, bit),
      stored,
      kind: origin.kind,
      reason: reasonOf(context),
    };
  }
}

/** What the TD's control structure has, where two evaluations by the same rules can be compared at once. */
export const storedOf = (evaluation: CpuidEvaluation): readonly Bits[] | undefined =>
  evaluation instanceof Evaluated ? evaluation.result.virtual : undefined;

/** What the configuration asks for in TD_PARAMS.CPUID_CONFIG, in the order of the rules' entries and EAX to EDX. */
export const askedOf = (evaluation: CpuidEvaluation): readonly Bits[] | undefined =>
  evaluation instanceof Evaluated ? evaluation.asked.params.config : undefined;

/**
 * What becomes of `config` on `host`: whether a TD comes of it, and for every CPUID bit what a guest finds, with its
 * reason. Never throws for a configuration that parseTdConfig takes; what is not known is `unknown`.
 */
export function evaluateCpuid(host: CpuidHost, config: TdConfig = {}, options: EvaluateOptions = {}): CpuidEvaluation {
  if (!host.rules) return evaluateWithoutRules(host, config);
  const partial = partialHost(host as CpuidHost & { rules: CompiledRules });
  return new Evaluated(host, config, partial, askTd(host, partial, config), options.vcpu ?? 0);
}
