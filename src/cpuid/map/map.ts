import { CPUID_REGISTERS, type CpuidRegister, featureAtBit } from '../names.js';
import {
  type CpuidEvaluation,
  type CpuidField,
  type CpuidRegisterView,
  fieldsOf,
  type RegisterBits,
} from '../questions/evaluation.js';
import { type MapKindId, mapKindOf } from './kinds.js';
import { type RequestedBits, requestedBits } from './requested.js';

/** Neighbouring bits of one name, kind and reason. */
export interface MapField {
  readonly high: number;
  readonly low: number;
  readonly kind: MapKindId;
  readonly reason: string;
  readonly name?: string;
  readonly aliases?: readonly string[];
  readonly meaning?: string;
}

export interface MapRegister {
  readonly register: CpuidRegister;
  /** Of a configuration; undefined where nothing of the register can be asked for. */
  readonly requested: RequestedBits | undefined;
  /** What KVM_TDX_GET_CPUID shows; undefined where it does not show the leaf. */
  readonly stored: RegisterBits | undefined;
  /** What a guest finds. */
  readonly guest: RegisterBits;
  /** Lowest first; each of the 32 bits is in one. */
  readonly fields: readonly MapField[];
}

export interface MapLeaf {
  readonly leaf: number;
  /** null: the sub-leaf is not significant. */
  readonly subleaf: number | null;
  /** EAX to EDX. */
  readonly registers: readonly MapRegister[];
}

const isZero = ({ value, unknown, guest }: RegisterBits): boolean => (value | unknown | guest) === 0;

function fieldOf({ leaf, subleaf, register, high, low, name, kind, reason }: CpuidField, absent: boolean): MapField {
  const feature = featureAtBit(leaf, subleaf ?? 0, register, low);
  return {
    high,
    low,
    kind: absent ? 'absent' : mapKindOf(kind),
    reason,
    ...(name !== undefined && { name }),
    ...(feature && feature.aliases.length > 0 && { aliases: feature.aliases }),
    ...(feature && { meaning: feature.meaning }),
  };
}

function leafOf(evaluation: CpuidEvaluation, views: readonly CpuidRegisterView[]): MapLeaf {
  const { leaf, subleaf } = views[0]!;
  const fields = views.map((view) => fieldsOf(evaluation, view));
  // Zeros in all four registers are how CPUID says that there is no such leaf; fixed ones no configuration changes.
  const absent = views.every(({ guest }) => isZero(guest)) && fields.flat().every(({ kind }) => kind === 'fixed');
  const registers = views.map(({ register, stored, guest }, i) => ({
    register,
    requested: requestedBits(evaluation, leaf, subleaf, register),
    stored,
    guest,
    fields: fields[i]!.map((field) => fieldOf(field, absent)),
  }));
  return { leaf, subleaf, registers };
}

/** Every leaf that the evaluation knows, bit by bit with kinds, names and reasons, as it is drawn. */
export function cpuidMap(evaluation: CpuidEvaluation): MapLeaf[] {
  const { registers } = evaluation;
  return Array.from({ length: registers.length / CPUID_REGISTERS.length }, (_, i) =>
    leafOf(evaluation, registers.slice(i * 4, i * 4 + 4)),
  );
}

/** The kind of each bit, bit 0 first. */
export const kindsOf = ({ fields }: MapRegister): MapKindId[] =>
  fields.flatMap(({ high, low, kind }) => Array<MapKindId>(high - low + 1).fill(kind));

/** Bits that were asked for and come out otherwise; never one that is not known or that the guest decides. */
export function differingBits({ requested, guest }: MapRegister): number {
  if (!requested) return 0;
  const known = requested.mask & ~requested.unknown & ~guest.unknown & ~guest.guest;
  return ((requested.value ^ guest.value) & known) >>> 0;
}
