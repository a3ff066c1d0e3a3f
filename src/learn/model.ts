import { type Expr, parseExpression, REGISTERS } from '../cpuid/index.js';
import type { CpuidEntry } from '../kvm/cpuid.js';
import type { LearntDocument, LearntRule } from './document.js';
import { FORMULAS, type Registers, type XsaveComponents } from './formulas.js';
import { type Place, placeText } from './places.js';

/** A TD's configuration, for prediction. */
export interface LearntConfiguration {
  attributes?: bigint;
  xfam?: bigint;
  gpaw?: 48 | 52;
  /** Default: the host's. */
  tscKhz?: number;
  maxVcpus?: number;
  /** CPUID as KVM_TDX_INIT_VM gets it. */
  cpuid?: readonly CpuidEntry[];
}

/** Predicted values, EAX to EDX, and a mask of the bits that are known. */
export interface LearntRow extends Place {
  values: number[];
  known: number[];
}

type Evaluate = (configuration: Required<LearntConfiguration>) => bigint;

const KHZ_PER_UNIT = 25_000;

function operand(expr: Expr): Evaluate {
  switch (expr.kind) {
    case 'number':
      return () => expr.value;
    case 'register': {
      const name = REGISTERS[expr.register];
      return ({ cpuid }) =>
        BigInt(cpuid.find((e) => e.function === expr.leaf && e.index === (expr.subleaf ?? 0))?.[name] ?? 0);
    }
    case 'name':
      if (expr.name === 'xfam') return ({ xfam }) => xfam;
      if (expr.name === 'attributes') return ({ attributes }) => attributes;
      if (expr.name === 'config_flags') return ({ gpaw }) => (gpaw === 52 ? 1n : 0n);
      if (expr.name === 'tsc_frequency') return ({ tscKhz }) => BigInt(Math.floor(tscKhz / KHZ_PER_UNIT));
      if (expr.name === 'max_vcpus') return ({ maxVcpus }) => BigInt(maxVcpus);
  }
  throw new RangeError(
    `a learnt rule uses ${JSON.stringify('name' in expr ? expr.name : expr.kind)}, which is unknown`,
  );
}

const truth = (value: boolean): bigint => (value ? 1n : 0n);

function compile(expr: Expr): Evaluate {
  if (expr.kind === 'slice') {
    const of = compile(expr.of);
    const mask = (1n << BigInt(expr.high - expr.low + 1)) - 1n;
    return (c) => (of(c) >> BigInt(expr.low)) & mask;
  }
  if (expr.kind === 'unary' && expr.op === '!') {
    const of = compile(expr.of);
    return (c) => truth(of(c) === 0n);
  }
  if (expr.kind === 'binary') {
    const [left, right] = [compile(expr.left), compile(expr.right)];
    if (expr.op === '&&') return (c) => truth(left(c) !== 0n && right(c) !== 0n);
    if (expr.op === '||') return (c) => truth(left(c) !== 0n || right(c) !== 0n);
    if (expr.op === '<<') return (c) => left(c) << right(c);
  }
  return operand(expr);
}

const CONSTANT: Partial<Record<LearntRule['kind'], number>> = { fixed0: 0, 'not-native': 0, fixed1: 0xffff_ffff };

interface CompiledRule {
  rule: LearntRule;
  masks: number[];
  when?: Evaluate;
  value?: Evaluate;
}

/** A learnt document, ready to predict what TDs of its host show. */
export class LearntModel {
  readonly #entries: { place: Place; text: string; index: number; rules: CompiledRule[] }[];
  readonly #xsave: XsaveComponents;

  /** @throws RulesError for an expression that cannot be read, RangeError for one with names of no learnt document. */
  constructor(readonly document: LearntDocument) {
    this.#entries = document.cpuid.map(({ leaf, subleaf, rules }) => {
      const place = { leaf: Number(leaf), subleaf: subleaf === undefined ? null : Number(subleaf) };
      const text = placeText(place);
      return { place, text, index: place.subleaf ?? 0, rules: rules.map((rule) => compileRule(rule, text)) };
    });
    this.#xsave = Array.from({ length: 32 }, (_, n) => {
      const [size, offset, align] = document.xsave[n] ?? [0, 0, 0];
      return { size, offset, align: align === 1 };
    });
  }

  /** What KVM_TDX_GET_CPUID shows of a TD, as far as it is known. The configuration must be one that the host accepts. */
  cpuid({ attributes, xfam, gpaw, tscKhz, maxVcpus, cpuid }: LearntConfiguration): LearntRow[] {
    const { settings } = this.document;
    const configuration: Required<LearntConfiguration> = {
      attributes: attributes ?? 0n,
      xfam: xfam ?? 0n,
      gpaw: gpaw ?? 48,
      tscKhz: tscKhz ?? settings.tsc.host,
      maxVcpus: maxVcpus ?? settings.maxVcpus ?? 0,
      cpuid: cpuid ?? [],
    };
    const shown: Record<string, number[]> = {};
    const rows = this.#entries.map(({ place, text, index, rules }): LearntRow => {
      const own = configuration.cpuid.find((e) => e.function === place.leaf && e.index === index);
      const row: LearntRow = { ...place, values: [0, 0, 0, 0], known: [0, 0, 0, 0] };
      for (const rule of rules) if (!rule.rule.formula) apply(rule, row, configuration, own);
      shown[text] = row.values;
      return row;
    });
    // Formulas look at what the other rules have given.
    this.#entries.forEach(({ rules }, i) => {
      for (const rule of rules) if (rule.rule.formula) this.#calculate(rule, rows[i]!, configuration.xfam, shown);
    });
    return rows;
  }

  #calculate({ rule, masks }: CompiledRule, row: LearntRow, xfam: bigint, shown: Registers): void {
    masks.forEach((mask, register) => {
      if (mask === 0) return;
      const value = FORMULAS[rule.formula!].value({ xfam, shown, xsave: this.#xsave, register });
      put(row, register, mask, value);
    });
  }
}

function put(row: LearntRow, register: number, mask: number, value: number): void {
  row.values[register] = (row.values[register]! | (value & mask)) >>> 0;
  row.known[register] = (row.known[register]! | mask) >>> 0;
}

function compileRule(rule: LearntRule, where: string): CompiledRule {
  const masks = REGISTERS.map((name) => Number(rule.bits[name] ?? 0));
  const code = (text: string): Evaluate => compile(parseExpression(text, `cpuid ${where}`));
  return {
    rule,
    masks,
    ...(rule.when !== undefined && { when: code(rule.when) }),
    ...(rule.value !== undefined && { value: code(rule.value) }),
  };
}

function apply(
  { rule, masks, when, value }: CompiledRule,
  row: LearntRow,
  configuration: Required<LearntConfiguration>,
  own: CpuidEntry | undefined,
): void {
  if (rule.kind === 'unknown' || rule.kind === 'untried') return;
  const holds = when === undefined || when(configuration) !== 0n;
  masks.forEach((mask, register) => {
    if (mask === 0) return;
    let bits = CONSTANT[rule.kind];
    if (value) bits = Number(value(configuration) & 0xffff_ffffn);
    else if (rule.kind === 'configured')
      bits = holds ? (own?.[REGISTERS[register]!] ?? 0) : rule.otherwise ? 0xffff_ffff : 0;
    put(row, register, mask, bits ?? (holds ? 0xffff_ffff : 0));
  });
}
