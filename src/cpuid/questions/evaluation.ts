import type { Finding } from '../../td/finding.js';
import type { ResolvedTd } from '../../td/resolve.js';
import type { TdConfig } from '../../td/schema.js';
import { REGISTERS, type Register } from '../expression/ast.js';
import { type CpuidRegister, featureAtBit } from '../names.js';
import type { BitKind } from '../origin.js';
import type { CpuidHost } from './host.js';

/** What a bit is to a guest. `guest decides`: no host can know. */
export type BitValue = 0 | 1 | 'unknown' | 'guest decides';

/** A register as far as it is known: unsigned 32-bit masks without a bit in common. */
export interface RegisterBits {
  readonly value: number;
  readonly unknown: number;
  readonly guest: number;
}

/** One register of one (leaf, sub-leaf) of a TD. */
export interface CpuidRegisterView {
  readonly leaf: number;
  /** null: the sub-leaf is not significant. */
  readonly subleaf: number | null;
  readonly register: CpuidRegister;
  /** What the TD's control structure has, and KVM_TDX_GET_CPUID shows; undefined where it shows no such leaf (#VE in the guest). */
  readonly stored: RegisterBits | undefined;
  /** What a guest finds in CPUID, on the vCPU that was asked about. */
  readonly guest: RegisterBits;
}

/** One bit of it. */
export interface CpuidBit {
  readonly leaf: number;
  readonly subleaf: number | null;
  readonly register: CpuidRegister;
  readonly bit: number;
  /** Of the feature or field that it belongs to. */
  readonly name?: string;
  /** What a guest finds. */
  readonly value: BitValue;
  /** What KVM_TDX_GET_CPUID shows; undefined where it does not show the leaf. */
  readonly stored: 0 | 1 | 'unknown' | undefined;
  readonly kind: BitKind | 'unknown';
  /** Why the value is what it is, a sentence. */
  readonly reason: string;
}

/** Neighbouring bits of one name, kind and reason. */
export interface CpuidField extends Omit<CpuidBit, 'bit' | 'value' | 'stored'> {
  readonly high: number;
  readonly low: number;
  /** The number in the field, where all of it is known. */
  readonly value: number | 'unknown' | 'guest decides';
}

/** What becomes of a configuration. */
export interface CpuidEvaluation {
  readonly host: CpuidHost;
  readonly config: TdConfig;
  readonly resolved: ResolvedTd;
  /** Whether a TD comes of it: of KVM's checks and the module's. */
  readonly accepted: boolean | 'unknown';
  /** What KVM or the module would refuse, and what else there is to say; errors first. */
  readonly findings: readonly Finding[];
  /** Rules whose outcome is not known, by id. */
  readonly undecided: readonly string[];
  /** In the order of leaves, sub-leaves and EAX to EDX. Of a refused configuration, as far as it would have come. */
  readonly registers: readonly CpuidRegisterView[];
  /** The register of a place; of leaves whose sub-leaf is not significant, whatever the sub-leaf. */
  register(leaf: number, subleaf: number, register: CpuidRegister): CpuidRegisterView | undefined;
  /** A bit; undefined for a leaf that the rules do not know, where CPUID gives #VE. */
  bit(leaf: number, subleaf: number, register: CpuidRegister, bit: number): CpuidBit | undefined;
}

const at = (mask: number, bit: number): boolean => ((mask >>> bit) & 1) === 1;

export const bitValue = ({ value, unknown, guest }: RegisterBits, bit: number): BitValue =>
  at(unknown, bit) ? 'unknown' : at(guest, bit) ? 'guest decides' : at(value, bit) ? 1 : 0;

export const registerNumber = (register: CpuidRegister): Register => REGISTERS.indexOf(register) as Register;

/** The register in fields, lowest first: each bit is in one of them. */
export function fieldsOf(evaluation: CpuidEvaluation, view: CpuidRegisterView): CpuidField[] {
  const { leaf, subleaf, register } = view;
  const fields: (CpuidField & { name?: string })[] = [];
  for (let low = 0; low < 32; ) {
    const first = evaluation.bit(leaf, subleaf ?? 0, register, low)!;
    const feature = featureAtBit(leaf, subleaf ?? 0, register, low);
    let high = low;
    for (let next = low + 1; next < 32; next++) {
      if (featureAtBit(leaf, subleaf ?? 0, register, next) !== feature) break;
      const other = evaluation.bit(leaf, subleaf ?? 0, register, next)!;
      if (other.kind !== first.kind || other.reason !== first.reason) break;
      if ((typeof other.value === 'number') !== (typeof first.value === 'number')) break;
      high = next;
    }
    const value = typeof first.value === 'number' ? part(view.guest.value, high, low) : first.value;
    const { value: _value, stored: _stored, bit: _bit, ...rest } = first;
    fields.push({ ...rest, high, low, value });
    low = high + 1;
  }
  return fields;
}

const part = (value: number, high: number, low: number): number => Math.floor(value / 2 ** low) % 2 ** (high - low + 1);
