import { evaluateTd, type Refusal } from '../evaluate.js';
import { GUEST_STATE } from '../scope.js';
import { checkTopology } from '../topology.js';
import { and, type Bits, GUEST, isKnown, keep, known, not, ONE, or, shiftLeft, truth, U32, U64, ZERO } from './bits.js';
import type { PartialScope } from './compile.js';
import type { PartialHost } from './host.js';
import type { PartialField } from './rules.js';

/** TD_PARAMS as far as it is known. */
export interface PartialParams {
  /** Fields by the names of the document. */
  readonly fields: ReadonlyMap<string, Bits>;
  /** CPUID_CONFIG by entry, four registers each. */
  readonly config: readonly Bits[];
  /** Whether bytes are zeros; left out: reserved bytes are. */
  readonly zeros?: PartialScope['zeros'];
}

/** What comes of TD_PARAMS. */
export interface PartialResult {
  /** The first check that certainly fails. */
  refusal: Refusal | undefined;
  /** Checks whose outcome is not known. */
  open: readonly { rule: string; text: string }[];
  /** By entry, four each: what TDH.MNG.INIT stores, and TDH.MNG.RD reads. As far as a refusal let it come. */
  virtual: Bits[];
}

const mask = (bits: number): Bits => known(BigInt(bits >>> 0));

export function setField(
  registers: Bits[],
  at: number,
  { register, low, mask: bits }: PartialField,
  value: Bits,
): void {
  const slot = at * 4 + register;
  const outside = and(registers[slot]!, known(U32 & ~BigInt(bits)));
  registers[slot] = or(outside, and(shiftLeft(value, BigInt(low)), mask(bits)));
}

class Evaluation {
  readonly open: { rule: string; text: string }[] = [];
  readonly virtual: Bits[];
  readonly scope: PartialScope;

  constructor(
    readonly host: PartialHost,
    readonly params: PartialParams,
  ) {
    this.virtual = host.sampled.map(() => ZERO);
    const names = new Map<string, Bits>([...host.values, ...params.fields]);
    this.scope = host.scope(names, this.virtual, params.config, params.zeros ?? (() => ONE));
  }

  /** True if the check certainly fails. */
  fails(test: Bits, rule: string, text: string): boolean {
    if (isKnown(test)) return test.value === 0n;
    this.open.push({ rule, text });
    return false;
  }

  cpuid(): Refusal | undefined {
    const { scope, virtual } = this;
    const xfam = this.params.fields.get('xfam')!;
    for (const [i, { entry, only, set, checks }] of this.host.partial.entries.entries()) {
      const refused = this.#source(i);
      if (refused) return refused;
      for (const { bit, masks } of entry.xfam) {
        const has = keep(and(known(1n), { ...shiftRightBits(xfam, bit) }), 1n);
        if (isKnown(has) && has.value) continue;
        this.#gate(i, has, masks);
      }
      if (only) this.#gate(i, truth(only.code(scope)), ALL);
      for (const field of set) setField(virtual, i, field, field.code(scope));
      for (const { rule, text, code } of checks) {
        if (this.fails(truth(code(scope)), rule, text)) return { rule, details: 0, rcx: 0n };
      }
    }
    return undefined;
  }

  /** The bits of entry `i` before anything depends on something else: configured, allowed, native or constant. */
  #source(i: number): Refusal | undefined {
    const { entry } = this.host.partial.entries[i]!;
    for (let r = 0; r < 4; r++) {
      const slot = i * 4 + r;
      const sampled = this.host.sampled[slot]!;
      if (entry.config < 0) {
        this.virtual[slot] = sampled;
        continue;
      }
      const wanted = this.params.config[slot]!;
      const outside = keep(wanted, U32 & ~BigInt((entry.configured[r]! | entry.allowed[r]!) >>> 0));
      const rule = 'module.mng-init.cpuid-config';
      const fits = known(outside.value === 0n ? 1n : 0n);
      if (this.fails(isKnown(outside) || outside.value ? fits : truth(outside), rule, '')) {
        return { rule, details: 0, rcx: entry.id };
      }
      const free = mask(entry.configured[r]!);
      const value = or(and(sampled, not(free)), and(wanted, free));
      this.virtual[slot] = keep(and(value, or(wanted, mask(~entry.allowed[r]!))), U32);
    }
    return undefined;
  }

  /** Clears the bits of `masks` unless `condition` holds. */
  #gate(i: number, condition: Bits, masks: ArrayLike<number>): void {
    if (isKnown(condition) && condition.value) return;
    for (let r = 0; r < 4; r++) {
      const slot = i * 4 + r;
      const all = isKnown(condition)
        ? ZERO
        : { value: 0n, unknown: condition.unknown ? U32 : 0n, guest: condition.guest ? U32 : 0n };
      this.virtual[slot] = and(this.virtual[slot]!, or(all, mask(~masks[r]!)));
    }
  }

  topology(): Refusal | undefined {
    const { rules, sampled } = this.host;
    const { topology } = rules;
    if (!topology) return undefined;
    const slots = (entries: readonly number[]) => entries.flatMap((e) => [0, 1, 2, 3].map((r) => e * 4 + r));
    const [x1f, xb] = [slots(topology.x1f), slots(topology.xb)];
    const asked = x1f.map((slot) => this.virtual[slot]!);
    const used = asked.some(({ value }) => value !== 0n) ? asked : x1f.map((slot) => sampled[slot]!);
    if (![...asked, ...used].every(isKnown)) {
      const unknown = { value: 0n, unknown: U32, guest: 0n };
      for (const slot of [...x1f, ...xb]) this.virtual[slot] = unknown;
      this.open.push({ rule: 'module.mng-init.topology', text: '' });
      return undefined;
    }
    const numbers = (from: readonly Bits[]) => Uint32Array.from(from, ({ value }) => Number(value & U32));
    const virtual = numbers(this.virtual);
    const refused = checkTopology(topology, virtual, numbers(sampled));
    for (const slot of [...x1f, ...xb]) this.virtual[slot] = known(BigInt(virtual[slot]!));
    return refused;
  }
}

const ALL = [0xffff_ffff, 0xffff_ffff, 0xffff_ffff, 0xffff_ffff];

const shiftRightBits = ({ value, unknown, guest }: Bits, bit: number): Bits => ({
  value: value >> BigInt(bit),
  unknown: unknown >> BigInt(bit),
  guest: guest >> BigInt(bit),
});

/**
 * What evaluateTd does, where some of the host or of TD_PARAMS is not known: a bit that comes out known is the same for
 * everything that the unknown could be, and with nothing unknown the two agree bit for bit.
 */
export function evaluatePartial(host: PartialHost, params: PartialParams): PartialResult {
  const evaluation = new Evaluation(host, params);
  const { open, virtual, scope } = evaluation;
  for (const step of host.partial.init) {
    let refusal: Refusal | undefined;
    if (step === 'cpuid') refusal = evaluation.cpuid();
    else if (step === 'topology') refusal = evaluation.topology();
    else if (evaluation.fails(truth(step.code(scope)), step.rule, step.text)) {
      refusal = { rule: step.rule, details: 0, rcx: 0n };
    }
    if (refusal) return { refusal, open, virtual };
  }
  return { refusal: undefined, open, virtual };
}

const NO_BYTES = new Uint8Array(0);

/** The exact engine where everything is known, which is several times as fast; undefined where something is not. */
function evaluateWhole({ exact, whole, rules }: PartialHost, params: PartialParams): PartialResult | undefined {
  if (!exact || !whole || params.zeros) return undefined;
  const { scope } = exact;
  for (const [slot, { name }] of rules.fields.entries()) {
    const field = params.fields.get(name)!;
    if (!isKnown(field)) return undefined;
    scope.low[slot] = Number(field.value & U32);
    scope.high[slot] = Number(field.value >> 32n);
  }
  for (const [slot, register] of params.config.entries()) {
    if (!isKnown(register)) return undefined;
    scope.config[slot] = Number(register.value);
  }
  scope.params = NO_BYTES;
  scope.virtual.fill(0);
  const refusal = evaluateTd(exact);
  return { refusal, open: [], virtual: Array.from(scope.virtual, (value) => (value ? known(BigInt(value)) : ZERO)) };
}

/** What becomes of TD_PARAMS on a host, by the exact engine where all is known. */
export const evaluateParams = (host: PartialHost, params: PartialParams): PartialResult =>
  evaluateWhole(host, params) ?? evaluatePartial(host, params);

/** What a guest finds in an entry, where it runs on the vCPU `vcpu`. */
export interface GuestView {
  /** Whether CPUID gives a #VE: known, or the guest decides. */
  ve: Bits;
  /** The registers without one. */
  registers: Bits[];
}

/** The guest's view of entry `i`: what it controls (CR4, XCR0, TD_CTLS and so on) is its decision. */
export function partialGuest(
  host: PartialHost,
  params: PartialParams,
  virtual: readonly Bits[],
  i: number,
  vcpu: number,
): GuestView {
  const { entry, ve, guest } = host.partial.entries[i]!;
  const registers = virtual.slice(i * 4, i * 4 + 4);
  if (entry.faulting) return { ve: ONE, registers };
  if (!ve && guest.length === 0) return { ve: ZERO, registers };
  const number = known(BigInt(vcpu));
  const state = GUEST_STATE.map(
    ({ name, narrow }) =>
      [name, name === 'vcpu_index' || name === 'x2apic_id' ? number : keep(GUEST, narrow ? U32 : U64)] as const,
  );
  const names = new Map<string, Bits>([...host.values, ...params.fields, ...state]);
  const scope = host.scope(names, [...virtual], params.config, params.zeros ?? (() => ONE));
  for (const field of guest) setField(scope.virtual, i, field, field.code(scope));
  return { ve: ve ? truth(ve.code(scope)) : ZERO, registers: scope.virtual.slice(i * 4, i * 4 + 4) };
}
