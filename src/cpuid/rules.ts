import type {
  BootProcedure,
  CpuidEntry,
  Registers,
  Requirement,
  RulesDocument,
  TopologySection,
  UnlistedCpuid,
} from './document.js';
import { REGISTERS, type RegisterExpr, RulesError } from './expression/ast.js';
import { type Code, compileExpression, type Names, truth } from './expression/compile.js';
import { parseExpression } from './expression/parse.js';
import { GUEST_STATE, type GuestStateName, type Scope } from './scope.js';

export type Test = (scope: Scope) => boolean;
/** Four masks, EAX to EDX. */
export type Masks = Uint32Array;

export interface CompiledRequirement {
  rule: string;
  /** Expression text, for messages. */
  text: string;
  holds: Test;
  details: number;
  rcxIsLeaf: boolean;
}

export interface CompiledEntry {
  leaf: number;
  subleaf: number | null;
  /** leaf | sub-leaf << 32, the sub-leaf all ones where it is not significant: how the module names the entry in RCX. */
  id: bigint;
  /** Index in TD_PARAMS.CPUID_CONFIG, -1 where it is not configurable. */
  config: number;
  faulting: boolean;
  verifyMask: Masks;
  verifyValue: Masks;
  same: Masks;
  zero: Masks;
  one: Masks;
  configured: Masks;
  allowed: Masks;
  /** Bits that clearing one XFAM bit clears. */
  xfam: readonly { bit: number; masks: Masks }[];
  only: Test | undefined;
  present: Test | undefined;
  /** In order. */
  set: readonly FieldCode[];
  boot: readonly CompiledRequirement[];
  checks: readonly CompiledRequirement[];
  ve: Test | undefined;
  guest: readonly FieldCode[];
}

/** What CPUID gives the guest for (leaf, sub-leaf) pairs without an entry. */
export interface CompiledUnlisted {
  /** undefined: any leaf. */
  leaves: ReadonlySet<number> | undefined;
  fixed: boolean;
  ve: Test | undefined;
  /** EAX to EDX; undefined: 0. */
  registers: readonly (Code | undefined)[];
}

/** A field of the TD that its guest writes with TDG.VM.WR. */
export interface CompiledGuestField {
  name: GuestStateName;
  /** Class and code, without the bits of a field id that are ignored. */
  id: bigint;
  writable: bigint;
  checks: readonly CompiledRequirement[];
  /** What is stored of the value `written`. */
  stored: Code;
}

/** Bits `mask << shift` of register `slot` (four an entry) become `value`. */
export interface FieldCode {
  slot: number;
  shift: number;
  mask: number;
  value: Code;
}

export type CompiledStep<Procedure> = { check: CompiledRequirement } | { run: Procedure };
export interface NamedCode {
  name: string;
  code: Code;
}

/** A rules document, ready to be evaluated. */
export interface CompiledRules {
  document: RulesDocument;
  module: string;
  /** In the order of evaluation. */
  entries: readonly CompiledEntry[];
  /** Positions in `entries`, by leaf, then sub-leaf, those without sub-leaf last. */
  listed: readonly number[];
  fields: readonly { name: string; offset: number; size: number }[];
  /** Slot of XFAM among the fields. */
  xfamSlot: number;
  fms: readonly number[];
  boot: readonly { call: string; steps: readonly CompiledStep<BootProcedure>[] }[];
  host: readonly NamedCode[];
  sysInfo: readonly (NamedCode & { id: bigint })[];
  init: readonly CompiledStep<'cpuid' | 'topology'>[];
  tdcs: readonly NamedCode[];
  cpuidFlags: readonly NamedCode[];
  topology: (TopologySection & { x1f: readonly number[]; xb: readonly number[] }) | undefined;
  lastLeaf: number;
  lastExtendedLeaf: Code;
  unlisted: readonly CompiledUnlisted[];
  guestFields: readonly CompiledGuestField[];
  /** Position of the entry of a (leaf, sub-leaf) in `entries`. */
  find(leaf: number, subleaf: number | null): number | undefined;
}

function number(text: string, where: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0)
    throw new RulesError(`expected a hexadecimal number, found '${text}'`, where);
  return value;
}

function masks(registers: Registers | undefined, where: string, side: 0 | 1 = 0): Masks {
  const of = (name: (typeof REGISTERS)[number]): number =>
    number(registers?.[name]?.split('=')[side] ?? '0x0', `${where}.${name}`);
  return Uint32Array.from(REGISTERS, of);
}

const FIELD = /^(e[abcd]x)(?:\[(\d+)(?::(\d+))?\])?$/;

/** Code and tests that are compiled when they are first used. */
function deferredCode(make: () => Code): Code {
  let made: Code | undefined;
  const code = (): Code => {
    made ??= make();
    return made;
  };
  return {
    get narrow() {
      return code().narrow;
    },
    low: (scope) => code().low(scope),
    wide: (scope) => code().wide(scope),
  };
}

function deferredTest(make: () => Test): Test {
  let made: Test | undefined;
  return (scope) => {
    made ??= make();
    return made(scope);
  };
}

/**
 * Compiles a rules document once for all its uses. Throws RulesError with the path in the document for anything that does
 * not make sense; once compiled, evaluation cannot fail.
 * @param trusted for documents that tests have compiled whole: an expression is then compiled when it is first used, since
 * starting a module needs few of them.
 */
export function compileRules(document: RulesDocument, { trusted = false } = {}): CompiledRules {
  const ordered = [...document.cpuid].sort((a, b) => a.index - b.index);
  const key = (leaf: number, subleaf: number | null): string => `${leaf}:${subleaf ?? '-'}`;
  const subleafOf = (e: CpuidEntry): number | null => (e.subleaf === undefined ? null : number(e.subleaf, 'subleaf'));
  const positions = new Map(ordered.map((e, i) => [key(number(e.leaf, 'leaf'), subleafOf(e)), i]));
  const find = (leaf: number, subleaf: number | null): number | undefined => positions.get(key(leaf, subleaf));

  const fields = Object.entries(document.tdParams.fields).map(([name, [offset, size]]) => ({ name, offset, size }));
  fields.push({ name: 'tdcx_pages', offset: -1, size: 4 });
  const host: NamedCode[] = [];
  const names: Names = {
    registers(of: RegisterExpr) {
      const at = find(of.leaf, of.subleaf);
      return at === undefined ? undefined : at * 4;
    },
    variable(name) {
      const field = fields.findIndex((f) => f.name === name);
      if (field >= 0) return { space: 'td', slot: field, narrow: fields[field]!.size <= 4 };
      const state = GUEST_STATE.findIndex((g) => g.name === name);
      if (state >= 0) return { space: 'guest', slot: state, narrow: GUEST_STATE[state]!.narrow };
      const slot = host.findIndex((v) => v.name === name);
      return slot < 0 ? undefined : { space: 'host', slot, narrow: host[slot]!.code.narrow };
    },
    bit: (name, member) => document.names[name]?.[member],
  };
  const compile = (text: string, where: string): Code => compileExpression(parseExpression(text, where), names, where);
  const code = (text: string, where: string): Code =>
    trusted ? deferredCode(() => compile(text, where)) : compile(text, where);
  const test = (text: string, where: string): Test =>
    trusted ? deferredTest(() => truth(compile(text, where))) : truth(compile(text, where));
  const named = (section: Record<string, string>, where: string): NamedCode[] =>
    Object.entries(section).map(([name, text]) => ({ name, code: code(text, `${where}.${name}`) }));
  const requirement = (r: Requirement, where: string): CompiledRequirement => ({
    rule: r.rule,
    text: r.require,
    holds: test(r.require, where),
    details: r.details === undefined ? 0 : number(r.details, where),
    rcxIsLeaf: r.rcx === 'leaf',
  });
  const steps = <P>(list: readonly (Requirement | { do: P })[], where: string): CompiledStep<P>[] =>
    list.map((s, i) => ('do' in s ? { run: s.do } : { check: requirement(s, `${where}[${i}]`) }));

  // A host value may use those before it.
  for (const [name, text] of Object.entries(document.host)) host.push({ name, code: code(text, `host.${name}`) });

  function entry(e: CpuidEntry, position: number): CompiledEntry {
    const leaf = number(e.leaf, 'leaf');
    const subleaf = subleafOf(e);
    const where = `cpuid ${e.leaf}${e.subleaf === undefined ? '' : `.${e.subleaf}`}`;
    const calculated = (list: Record<string, string> | undefined): FieldCode[] =>
      Object.entries(list ?? {}).map(([field, text]) => {
        const [, register, high, low] = FIELD.exec(field) ?? [];
        if (register === undefined) throw new RulesError(`'${field}' is not a field such as eax[15:8]`, where);
        const [top, shift] = [Number(high ?? 31), Number(low ?? high ?? 0)];
        const slot = position * 4 + REGISTERS.indexOf(register as (typeof REGISTERS)[number]);
        return { slot, shift, mask: 2 ** (top - shift + 1) - 1, value: code(text, `${where}.${field}`) };
      });
    const xfam = Object.entries(e.xfam ?? {}).flatMap(([bits, cleared]) =>
      bits.split(' ').map((bit) => ({ bit: number(bit, where), masks: masks(cleared, `${where}.xfam`) })),
    );
    return {
      leaf,
      subleaf,
      id: BigInt(leaf) | (BigInt(subleaf ?? 0xffff_ffff) << 32n),
      config: e.config ?? -1,
      faulting: e.faulting ?? false,
      verifyMask: masks(e.verify, where),
      verifyValue: masks(e.verify, where, 1),
      same: masks(e.same, where),
      zero: masks(e.zero, where),
      one: masks(e.one, where),
      configured: masks(e.configured, where),
      allowed: masks(e.allowed, where),
      xfam,
      only: e.only === undefined ? undefined : test(e.only, `${where}.only`),
      present: e.present === undefined ? undefined : test(e.present, `${where}.present`),
      set: calculated(e.set),
      boot: (e.boot ?? []).map((r) => requirement(r, `${where}.boot`)),
      checks: (e.checks ?? []).map((r) => requirement(r, `${where}.checks`)),
      ve: e.ve === undefined ? undefined : test(e.ve, `${where}.ve`),
      guest: calculated(e.guest),
    };
  }

  function unlisted({ leaves, fixed, ve, registers }: UnlistedCpuid, i: number): CompiledUnlisted {
    const where = `guest.unlisted[${i}]`;
    return {
      leaves: leaves && new Set(leaves.map((leaf) => number(leaf, where))),
      fixed: fixed ?? false,
      ve: ve === undefined ? undefined : test(ve, `${where}.ve`),
      registers: REGISTERS.map((name) => {
        const text = registers?.[name];
        return text === undefined ? undefined : code(text, `${where}.${name}`);
      }),
    };
  }

  const guestFields = Object.entries(document.guest.fields ?? {}).map(([name, field]): CompiledGuestField => {
    const where = `guest.fields.${name}`;
    const state = GUEST_STATE.find((g) => g.name === name);
    if (!state) throw new RulesError(`'${name}' is no state of a guest`, where);
    return {
      name: state.name,
      id: BigInt(field.id),
      writable: BigInt(field.writable),
      checks: (field.checks ?? []).map((r) => requirement(r, `${where}.checks`)),
      stored: code(field.stored ?? 'written', `${where}.stored`),
    };
  });

  const entries = ordered.map(entry);
  const rank = (i: number): number => entries[i]!.leaf * 2 ** 8 + (entries[i]!.subleaf ?? 255);
  return {
    document,
    module: document.module,
    entries,
    listed: entries.map((_, i) => i).sort((a, b) => rank(a) - rank(b)),
    fields,
    xfamSlot: fields.findIndex((f) => f.name === 'xfam'),
    fms: document.fms.map((f) => number(f, 'fms')),
    boot: document.boot.map((b) => ({ call: b.call, steps: steps(b.steps, `boot.${b.call}`) })),
    host,
    sysInfo: Object.entries(document.sysInfo.fields).map(([name, { id, value }]) => ({
      name,
      id: BigInt(id),
      code: code(value, `sysInfo.${name}`),
    })),
    init: steps(document.init, 'init'),
    tdcs: named(document.tdcs, 'tdcs'),
    cpuidFlags: named(document.cpuidFlags, 'cpuidFlags'),
    topology: topology(document.topology, find),
    lastLeaf: number(document.guest.lastLeaf, 'guest.lastLeaf'),
    lastExtendedLeaf: code(document.guest.lastExtendedLeaf, 'guest.lastExtendedLeaf'),
    unlisted: (document.guest.unlisted ?? []).map(unlisted),
    guestFields,
    find,
  };
}

function topology(section: TopologySection | undefined, find: CompiledRules['find']): CompiledRules['topology'] {
  if (!section) return undefined;
  const all = (leaf: number, count: number): number[] =>
    Array.from({ length: count }, (_, n) => {
      const at = find(leaf, n);
      if (at === undefined)
        throw new RulesError(`CPUID(0x${leaf.toString(16)}, ${n}) is not in the document`, 'topology');
      return at;
    });
  return { ...section, x1f: all(0x1f, section.subleaves), xb: all(0xb, 3) };
}
