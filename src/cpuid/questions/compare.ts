import { type CpuidFeature, featureAtBit } from '../names.js';
import { type CpuidBit, type CpuidEvaluation, fieldsOf } from './evaluation.js';
import type { BitPlace } from './place.js';

/** Bits that two evaluations have otherwise. */
export interface MovedBits extends BitPlace {
  /** The field as a guest finds it in either; `absent` where only the other has the leaf. */
  from: Side;
  to: Side;
}

/** One side of a comparison. */
export interface Side {
  value: number | 'unknown' | 'guest decides' | 'absent';
  kind: CpuidBit['kind'] | 'absent';
  reason: string;
}

const ABSENT: Side = {
  value: 'absent',
  kind: 'absent',
  reason: 'the module has no such (sub-)leaf: CPUID gives a #VE',
};

const key = ({ leaf, subleaf, register }: { leaf: number; subleaf: number | null; register: string }) =>
  `${leaf}.${subleaf ?? 0}.${register}`;

/**
 * Where a guest finds something else in `to` than in `from`, by named field or single bit. Where both say `unknown` or
 * `guest decides`, they differ if the guest's choices (what the TD's control structure has) do.
 */
export function movedBits(from: CpuidEvaluation, to: CpuidEvaluation): MovedBits[] {
  const others = new Map(to.registers.map((view) => [key(view), view]));
  const moved: MovedBits[] = [];
  for (const view of from.registers) {
    const other = others.get(key(view));
    others.delete(key(view));
    if (!other) {
      moved.push(...wholeRegister(from, view, 'from'));
      continue;
    }
    const differ =
      view.guest.value !== other.guest.value ||
      view.guest.unknown !== other.guest.unknown ||
      view.guest.guest !== other.guest.guest ||
      (view.guest.guest !== 0 && view.stored?.value !== other.stored?.value);
    if (differ) moved.push(...inRegister(from, to, view));
  }
  for (const view of others.values()) moved.push(...wholeRegister(to, view, 'to'));
  return moved;
}

type View = CpuidEvaluation['registers'][number];

const sideOf = ({ value, kind, reason }: CpuidBit): Side => ({ value, kind, reason });

/** Whether all bits of a field are known: then it is one number. */
const isNumber = ({ guest: { unknown, guest } }: View, { mask }: CpuidFeature): boolean =>
  ((unknown | guest) & mask) === 0;

/** Whole fields that are numbers, and neighbouring bits of one name and the same two reasons. */
function inRegister(from: CpuidEvaluation, to: CpuidEvaluation, view: View): MovedBits[] {
  const { leaf, subleaf, register } = view;
  const found: MovedBits[] = [];
  let last: (MovedBits & { key: string }) | undefined;
  for (let bit = 0; bit < 32; bit++) {
    const [a, b] = [from, to].map((side) => side.bit(leaf, subleaf ?? 0, register, bit)!) as [CpuidBit, CpuidBit];
    if (a.value === b.value && (a.value !== 'guest decides' || a.stored === b.stored)) {
      last = undefined;
      continue;
    }
    const field = featureAtBit(leaf, subleaf ?? 0, register, bit);
    if (
      field &&
      field.high !== field.low &&
      isNumber(view, field) &&
      isNumber(to.register(leaf, subleaf ?? 0, register)!, field)
    ) {
      const { high, low, name } = field;
      found.push({ leaf, subleaf: subleaf ?? 0, register, high, low, name, from: sideOf(a), to: sideOf(b) });
      last = undefined;
      bit = high;
      continue;
    }
    const here = JSON.stringify([a.name, a.kind, a.reason, b.kind, b.reason]);
    if (last && a.name !== undefined && last.key === here) {
      last.high = bit;
      continue;
    }
    const place = { leaf, subleaf: subleaf ?? 0, register, high: bit, low: bit };
    last = { ...place, ...(a.name !== undefined && { name: a.name }), from: sideOf(a), to: sideOf(b), key: here };
    found.push(last);
  }
  const number = (evaluation: CpuidEvaluation, { high, low }: MovedBits, side: Side): Side => {
    if (high === low || typeof side.value !== 'number') return side;
    const { value } = evaluation.register(leaf, subleaf ?? 0, register)!.guest;
    return { ...side, value: Math.floor(value / 2 ** low) % 2 ** (high - low + 1) };
  };
  return found.map((item) => {
    const { key: _key, ...moved } = item as MovedBits & { key?: string };
    return { ...moved, from: number(from, moved, moved.from), to: number(to, moved, moved.to) };
  });
}

/** A register that only one side has, in fields that are not 0. */
function wholeRegister(evaluation: CpuidEvaluation, view: View, side: 'from' | 'to'): MovedBits[] {
  return fieldsOf(evaluation, view).flatMap(({ leaf, subleaf, register, high, low, name, value, kind, reason }) => {
    if (value === 0 || kind === 'unknown') return [];
    const here: Side = { value, kind, reason };
    const place = { leaf, subleaf: subleaf ?? 0, register, high, low, ...(name !== undefined && { name }) };
    return [{ ...place, from: side === 'from' ? here : ABSENT, to: side === 'from' ? ABSENT : here }];
  });
}
