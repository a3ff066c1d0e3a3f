import { entryAt } from '../../td/cpuid-entries.js';
import { resolveTd } from '../../td/resolve.js';
import type { TdConfig } from '../../td/schema.js';
import { REGISTERS } from '../expression/ast.js';
import { featureAtBit } from '../names.js';
import { bitOrigin } from '../origin.js';
import type { CompiledRules } from '../rules.js';
import { factsOf } from './common-facts.js';
import { evaluateCpuid, storedOf } from './evaluate.js';
import type { CpuidBit, CpuidEvaluation, CpuidRegisterView } from './evaluation.js';
import type { CpuidHost } from './host.js';
import { knobKey, type Turn, turn } from './knobs.js';
import { partialHost } from './knowledge.js';
import type { BitPlace } from './place.js';

/** A bit that guests find otherwise on some hosts. */
export interface HostDifference extends BitPlace {
  kind: CpuidBit['kind'];
  /** How the value comes about on the first host. */
  reason: string;
  /** The names of hosts that differ from the first. */
  hosts: readonly string[];
}

interface BitDifference {
  view: CpuidRegisterView;
  bit: number;
  hosts: CpuidEvaluation[];
}

const key = ({ leaf, subleaf, register }: CpuidRegisterView): string => `${leaf}.${subleaf ?? 0}.${register}`;

/** A register of a leaf that a module does not know: CPUID gives a #VE, and the guest decides. */
const ABSENT: Pick<CpuidRegisterView, 'guest' | 'stored'> = {
  guest: { value: 0, unknown: 0, guest: 0xffff_ffff },
  stored: undefined,
};

/** The bits that one guest finds otherwise than another; of a value that the guest decides, those that the TDs have otherwise. */
function differing(a: typeof ABSENT, b: typeof ABSENT): number {
  const seen = (a.guest.value ^ b.guest.value) | (a.guest.unknown ^ b.guest.unknown) | (a.guest.guest ^ b.guest.guest);
  const both = a.guest.guest & b.guest.guest;
  const stored = a.stored && b.stored ? a.stored.value ^ b.stored.value : 0;
  return (seen | (both & stored)) >>> 0;
}

/** The same rules and the same values: a quick look before a close one. */
function areAlike(a: CpuidEvaluation, b: CpuidEvaluation): boolean {
  const [one, other] = [storedOf(a), storedOf(b)];
  if (!one || !other || a.host.rules !== b.host.rules) return false;
  return one.every(
    ({ value, unknown }, slot) => other[slot]!.value === value && other[slot]!.unknown === 0n && unknown === 0n,
  );
}

/** Where the evaluations of one configuration differ between hosts. */
function differences(all: readonly CpuidEvaluation[]): BitDifference[] {
  const [first, ...rest] = all;
  const found = new Map<string, BitDifference>();
  const own = new Set(first!.registers.map(key));
  for (const other of rest) {
    if (areAlike(first!, other)) continue;
    const views = new Map(other.registers.map((view) => [key(view), view]));
    const added = other.registers.filter((view) => !own.has(key(view)));
    for (const view of added)
      if (differing(view, ABSENT) !== 0) found.set(`${key(view)}.0`, { view, bit: 0, hosts: [other] });
    for (const view of first!.registers) {
      const mask = differing(view, views.get(key(view)) ?? ABSENT);
      for (let bit = 0; mask !== 0 && bit < 32; bit++) {
        if (((mask >>> bit) & 1) === 0) continue;
        const at = `${key(view)}.${bit}`;
        const known = found.get(at) ?? { view, bit, hosts: [] };
        known.hosts.push(other);
        found.set(at, known);
      }
    }
  }
  return [...found.values()];
}

/** What to turn so that a difference goes away; undefined where nothing does it. */
function cureOf({ view, bit, hosts }: BitDifference, all: readonly CpuidEvaluation[]): Turn | undefined {
  const { leaf, register } = view;
  const subleaf = view.subleaf ?? 0;
  for (const { host, resolved } of [all[0]!, hosts[0]!]) {
    if (!host.rules) continue;
    const partial = partialHost(host as CpuidHost & { rules: CompiledRules });
    const i = host.rules.find(leaf, view.subleaf);
    if (i === undefined) continue;
    const origin = bitOrigin(partial.partial, i, REGISTERS.indexOf(register), bit);
    const asked = ((entryAt(resolved.cpuid, leaf, subleaf)?.[register] ?? 0) >>> bit) & 1;
    if (origin.source === 'allowed' && asked) return { knob: { kind: 'bit', leaf, subleaf, register, bit }, to: 0 };
    const only = origin.only?.references.names.get('xfam') ?? 0n;
    const needed = [...origin.xfam, ...[...Array(20).keys()].filter((n) => (only >> BigInt(n)) & 1n)];
    const dropped = needed.find((n) => n > 1 && (resolved.xfam >> BigInt(n)) & 1n);
    if (dropped !== undefined) return { knob: { kind: 'xfam', bit: dropped }, to: 0 };
  }
  return undefined;
}

/** Hosts by what is known of them: a fleet has many of few kinds. */
function kindsOf(hosts: readonly CpuidHost[]): CpuidHost[][] {
  const kinds = new Map<string, CpuidHost[]>();
  const numbers = new Map<unknown, number>();
  const number = (rules: unknown): number => numbers.get(rules) ?? numbers.set(rules, numbers.size).size - 1;
  for (const host of hosts) {
    const { rules, platform, facts } = host;
    const known = JSON.stringify([number(rules), platform?.cpuid, platform?.msr, platform?.sys, facts], (_, value) =>
      typeof value === 'bigint' ? `${value}` : value,
    );
    const kind = kinds.get(known) ?? [];
    kind.push(host);
    kinds.set(known, kind);
  }
  return [...kinds.values()];
}

/** A configuration that shows guests the same on all hosts, as far as that is possible. */
export interface Same {
  config: TdConfig;
  /** By host. */
  all: readonly CpuidEvaluation[];
  left: readonly BitDifference[];
}

/** `config` with everything taken out that makes guests find something else on another host, as far as that is possible. */
export function makeSame(hosts: readonly CpuidHost[], config: TdConfig): Same {
  const kinds = kindsOf(hosts);
  let now = config;
  for (let round = 0; ; round++) {
    const all = kinds.map(([host]) => evaluateCpuid(host!, now));
    const left = differences(all);
    const cures = new Map(
      left.flatMap((difference) => {
        const cure = cureOf(difference, all);
        return cure ? [[knobKey(cure.knob), cure] as const] : [];
      }),
    );
    if (cures.size === 0 || round >= MOST_ROUNDS) return { config: now, ...everyHost(hosts, kinds, all, left, now) };
    for (const cure of cures.values()) now = turn(now, resolveTd(now, factsOf(kinds[0]![0]!)), cure);
  }
}

const MOST_ROUNDS = 40;

/** What was found out about kinds of hosts, for every host by its own name. */
function everyHost(
  hosts: readonly CpuidHost[],
  kinds: readonly (readonly CpuidHost[])[],
  all: readonly CpuidEvaluation[],
  left: readonly BitDifference[],
  config: TdConfig,
): Omit<Same, 'config'> {
  const own = new Map<CpuidHost, CpuidEvaluation>();
  const members = new Map<CpuidEvaluation, CpuidEvaluation[]>();
  kinds.forEach((kind, i) => {
    const evaluations = kind.map((host, n) => (n === 0 ? all[i]! : evaluateCpuid(host, config)));
    kind.forEach((host, n) => void own.set(host, evaluations[n]!));
    members.set(all[i]!, evaluations);
  });
  const spread = left.map((difference) => ({
    ...difference,
    hosts: difference.hosts.flatMap((one) => members.get(one)!),
  }));
  return { all: hosts.map((host) => own.get(host)!), left: spread };
}

/** Differences by neighbouring bits of one name and reason. */
export function describeDifferences(all: readonly CpuidEvaluation[], left: readonly BitDifference[]): HostDifference[] {
  const found: HostDifference[] = [];
  for (const { view, bit, hosts } of left) {
    const { leaf, register } = view;
    const subleaf = view.subleaf ?? 0;
    const { kind, reason } = (all[0]!.bit(leaf, subleaf, register, bit) ??
      hosts[0]!.bit(leaf, subleaf, register, bit))!;
    const feature = featureAtBit(leaf, subleaf, register, bit);
    const name = feature?.name;
    const names = hosts.map(({ host }) => host.name);
    const last = found.at(-1);
    const same = last?.leaf === leaf && last.subleaf === subleaf && last.register === register && last.name === name;
    if (same && last.high >= bit - 1 && last.kind === kind && last.reason === reason) {
      found[found.length - 1] = {
        ...last,
        high: Math.max(last.high, bit),
        hosts: [...new Set([...last.hosts, ...names])],
      };
      continue;
    }
    found.push({
      leaf,
      subleaf,
      register,
      high: feature?.high ?? bit,
      low: feature?.low ?? bit,
      ...(name !== undefined && { name }),
      kind,
      reason,
      hosts: names,
    });
  }
  return found;
}
