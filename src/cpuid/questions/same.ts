import { entryAt } from '../../td/cpuid-entries.js';
import type { TdConfig } from '../../td/schema.js';
import { REGISTERS } from '../expression/ast.js';
import { type CpuidRegister, featureAtBit } from '../names.js';
import { bitOrigin } from '../origin.js';
import type { CompiledRules } from '../rules.js';
import { evaluateCpuid } from './evaluate.js';
import type { CpuidBit, CpuidEvaluation, CpuidRegisterView } from './evaluation.js';
import type { CpuidHost } from './host.js';
import { turn } from './knobs.js';
import { partialHost } from './knowledge.js';

/** A bit that guests find otherwise on some hosts. */
export interface HostDifference {
  leaf: number;
  subleaf: number;
  register: CpuidRegister;
  high: number;
  low: number;
  name?: string;
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

/** The bits that one guest finds otherwise than another; of a value that the guest decides, those that the TDs have otherwise. */
function differing(a: CpuidRegisterView, b: CpuidRegisterView | undefined): number {
  if (!b) return 0xffff_ffff;
  const seen = (a.guest.value ^ b.guest.value) | (a.guest.unknown ^ b.guest.unknown) | (a.guest.guest ^ b.guest.guest);
  const both = a.guest.guest & b.guest.guest;
  const stored = a.stored && b.stored ? a.stored.value ^ b.stored.value : 0;
  return (seen | (both & stored)) >>> 0;
}

/** Where the evaluations of one configuration differ between hosts. */
function differences(all: readonly CpuidEvaluation[]): BitDifference[] {
  const [first, ...rest] = all;
  const found = new Map<string, BitDifference>();
  for (const other of rest) {
    const views = new Map(other.registers.map((view) => [key(view), view]));
    for (const view of first!.registers) {
      const mask = differing(view, views.get(key(view)));
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

/** The configuration with what is behind a difference taken out; undefined where nothing can be. */
function without(
  { view, bit, hosts }: BitDifference,
  all: readonly CpuidEvaluation[],
  config: TdConfig,
): TdConfig | undefined {
  const { leaf, register } = view;
  const subleaf = view.subleaf ?? 0;
  for (const evaluation of [all[0]!, ...hosts]) {
    const { host, resolved } = evaluation;
    if (!host.rules) continue;
    const partial = partialHost(host as CpuidHost & { rules: CompiledRules });
    const i = host.rules.find(leaf, view.subleaf);
    if (i === undefined) continue;
    const origin = bitOrigin(partial.partial, i, REGISTERS.indexOf(register), bit);
    const asked = ((entryAt(resolved.cpuid, leaf, subleaf)?.[register] ?? 0) >>> bit) & 1;
    if (origin.source === 'allowed' && asked) {
      return turn(config, resolved, { knob: { kind: 'bit', leaf, subleaf, register, bit }, to: 0 });
    }
    const only = origin.only?.references.names.get('xfam') ?? 0n;
    const needed = [...origin.xfam, ...[...Array(20).keys()].filter((n) => (only >> BigInt(n)) & 1n)];
    const dropped = needed.find((n) => n > 1 && (resolved.xfam >> BigInt(n)) & 1n);
    if (dropped !== undefined) return turn(config, resolved, { knob: { kind: 'xfam', bit: dropped }, to: 0 });
  }
  return undefined;
}

const MOST_ROUNDS = 40;

/** `config` with everything taken out that makes guests find something else on another host, as far as that is possible. */
export function makeSame(
  hosts: readonly CpuidHost[],
  config: TdConfig,
): { config: TdConfig; all: CpuidEvaluation[]; left: BitDifference[] } {
  let now = config;
  for (let round = 0; ; round++) {
    const all = hosts.map((host) => evaluateCpuid(host, now));
    const left = differences(all);
    let next: TdConfig | undefined;
    for (const difference of left) {
      next = without(difference, all, now);
      if (next) break;
    }
    if (!next || round >= MOST_ROUNDS) return { config: now, all, left };
    now = next;
  }
}

/** Differences by neighbouring bits of one name and reason. */
export function describeDifferences(all: readonly CpuidEvaluation[], left: readonly BitDifference[]): HostDifference[] {
  const found: HostDifference[] = [];
  for (const { view, bit, hosts } of left) {
    const { leaf, register } = view;
    const subleaf = view.subleaf ?? 0;
    const { kind, reason } = all[0]!.bit(leaf, subleaf, register, bit)!;
    const name = featureAtBit(leaf, subleaf, register, bit)?.name;
    const names = hosts.map(({ host }) => host.name);
    const last = found.at(-1);
    const same = last?.leaf === leaf && last.subleaf === subleaf && last.register === register && last.name === name;
    if (same && name !== undefined && last.kind === kind && last.reason === reason) {
      found[found.length - 1] = { ...last, high: bit, hosts: [...new Set([...last.hosts, ...names])] };
      continue;
    }
    found.push({
      leaf,
      subleaf,
      register,
      high: bit,
      low: bit,
      ...(name !== undefined && { name }),
      kind,
      reason,
      hosts: names,
    });
  }
  return found;
}
