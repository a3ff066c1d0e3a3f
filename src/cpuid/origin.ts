import type { PartialEntry, PartialExpression, PartialField, PartialRules } from './partial/rules.js';
import { type References, referencesOf } from './references.js';

/**
 * How the value of a bit comes about, in the terms of Intel's specification:
 * - `fixed`: the same in every TD of this module version;
 * - `native`: as the processor has it;
 * - `configured`: as TD_PARAMS.CPUID_CONFIG says;
 * - `allowed`: as CPUID_CONFIG says, where the processor has it;
 * - `xfam`, `attribute`: there only with certain bits of XFAM or ATTRIBUTES, or just these;
 * - `cpuid`: there only with another CPUID bit of the TD;
 * - `calculated`: by the module, of the configuration or the processor;
 * - `dynamic`: with the state of the vCPU that executes CPUID, such as CR4 or its APIC id;
 * - `#VE`: CPUID gives a #VE; the guest's handler makes up a value, most ask the VMM;
 * - `opt-in`: #VE until the guest asks for a value (TD_CTLS and its like).
 */
export type BitKind =
  | 'fixed'
  | 'native'
  | 'configured'
  | 'allowed'
  | 'xfam'
  | 'attribute'
  | 'cpuid'
  | 'calculated'
  | 'dynamic'
  | '#VE'
  | 'opt-in';

export const BIT_KINDS = [
  'fixed',
  'native',
  'configured',
  'allowed',
  'xfam',
  'attribute',
  'cpuid',
  'calculated',
  'dynamic',
  '#VE',
  'opt-in',
] as const satisfies readonly BitKind[];

/** An expression and what it looks at. */
export type Condition = PartialExpression & { references: References };

/** What a rules document says about one bit: read from its masks and expressions, the same for every configuration. */
export interface BitOrigin {
  kind: BitKind;
  /** Where the value comes from before conditions apply. */
  source: 'fixed 0' | 'fixed 1' | 'native' | 'configured' | 'allowed';
  /** Bits of XFAM of which every one must be set, or else it is 0. */
  xfam: readonly number[];
  /** The whole entry is 0 unless this holds. */
  only: Condition | undefined;
  /** It is a bit of this field, which is calculated. */
  set: (Condition & PartialField) | undefined;
  /** The module derives it from the topology that the TD is configured with. */
  topology: boolean;
  /** The field of the guest's state that it shows. */
  guest: (Condition & PartialField) | undefined;
  /** CPUID gives a #VE while this holds. */
  ve: Condition | undefined;
  faulting: boolean;
}

type Described<T> = T & { references: References };

class Origins {
  readonly #made = new Map<number, BitOrigin>();
  readonly #described = new Map<PartialExpression, References>();

  constructor(readonly partial: PartialRules) {}

  describe<T extends PartialExpression>(expression: T): Described<T> {
    const names = this.partial.rules.document.names;
    let references = this.#described.get(expression);
    if (!references) {
      references = referencesOf(expression.expr, (name, member) => names[name]?.[member]);
      this.#described.set(expression, references);
    }
    return { ...expression, references };
  }

  of(i: number, register: number, bit: number): BitOrigin {
    const key = (i * 4 + register) * 32 + bit;
    let origin = this.#made.get(key);
    if (!origin) {
      origin = this.#make(i, register, bit);
      this.#made.set(key, origin);
    }
    return origin;
  }

  #make(i: number, register: number, bit: number): BitOrigin {
    const partial = this.partial.entries[i]!;
    const { entry, only, set, guest, ve } = partial;
    const has = (masks: ArrayLike<number>): boolean => ((masks[register]! >>> bit) & 1) === 1;
    const covers = (field: PartialField): boolean => field.register === register && ((field.mask >>> bit) & 1) === 1;
    const describe = <T extends PartialExpression>(e: T | undefined) =>
      e === undefined ? undefined : this.describe(e);
    const { topology } = this.partial.rules;
    const origin: BitOrigin = {
      kind: 'native',
      source: sourceOf(partial, has),
      xfam: entry.xfam.filter(({ masks }) => has(masks)).map((group) => group.bit),
      only: describe(only),
      set: describe(set.findLast(covers)),
      topology: topology !== undefined && [...topology.x1f, ...topology.xb].includes(i),
      guest: describe(guest.findLast(covers)),
      ve: describe(ve),
      faulting: entry.faulting,
    };
    origin.kind = kindOf(origin);
    return origin;
  }
}

function sourceOf({ entry }: PartialEntry, has: (masks: ArrayLike<number>) => boolean): BitOrigin['source'] {
  if (entry.config >= 0 && has(entry.configured)) return 'configured';
  const fixed = has(entry.one) ? 'fixed 1' : has(entry.zero) ? 'fixed 0' : undefined;
  if (entry.config >= 0 && has(entry.allowed) && fixed !== 'fixed 0') return 'allowed';
  return fixed ?? 'native';
}

const looksAt = ({ references: { names } }: Condition, name: string): boolean => names.has(name);

function kindOf({ source, xfam, only, set, topology, guest, ve, faulting }: BitOrigin): BitKind {
  if (faulting) return '#VE';
  if (ve) return 'opt-in';
  if (guest) return 'dynamic';
  if (set) return kindOfField(set);
  if (topology && source !== 'configured') return 'calculated';
  if (source === 'fixed 0') return 'fixed';
  if (only) return looksAt(only, 'xfam') ? 'xfam' : looksAt(only, 'attributes') ? 'attribute' : 'cpuid';
  if (xfam.length > 0) return 'xfam';
  return source === 'fixed 1' ? 'fixed' : source;
}

function kindOfField(set: Condition): BitKind {
  const { names, registers, functions } = set.references;
  if (names.size === 0 && registers.length === 0 && functions.size === 0) return 'fixed';
  if (functions.size > 0) return 'calculated';
  if (looksAt(set, 'attributes') && names.size === 1) return 'attribute';
  return looksAt(set, 'xfam') ? 'xfam' : 'calculated';
}

const origins = new WeakMap<PartialRules, Origins>();

const originsOf = (partial: PartialRules): Origins => {
  const made = origins.get(partial) ?? new Origins(partial);
  origins.set(partial, made);
  return made;
};

/** How bit `bit` of register `register` (0 to 3) of entry `i` comes about. */
export const bitOrigin = (partial: PartialRules, i: number, register: number, bit: number): BitOrigin =>
  originsOf(partial).of(i, register, bit);

/** An expression of a document with what it looks at. */
export const describeExpression = (partial: PartialRules, expression: PartialExpression): Condition =>
  originsOf(partial).describe(expression);
