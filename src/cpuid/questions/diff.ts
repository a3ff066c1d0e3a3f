import type { TdConfig } from '../../td/schema.js';
import { type MovedBits, movedBits } from './compare.js';
import { evaluateCpuid } from './evaluate.js';
import type { CpuidEvaluation } from './evaluation.js';
import type { CpuidHost } from './host.js';

/** One side of a question: a host or a version, and a configuration on it. */
export interface DiffSide {
  host: CpuidHost;
  config?: TdConfig;
}

export interface CpuidDiff {
  a: CpuidEvaluation;
  b: CpuidEvaluation;
  /** What guests find otherwise, in the order of leaves. */
  bits: readonly MovedBits[];
  /** Bits whose value is the same, and comes about otherwise. */
  kinds: readonly MovedBits[];
}

/** What guests find otherwise on two hosts, versions or configurations, with the reasons on both sides. */
export function diffCpuid(one: DiffSide, other: DiffSide): CpuidDiff {
  const a = evaluateCpuid(one.host, one.config);
  const b = evaluateCpuid(other.host, other.config);
  return { a, b, bits: movedBits(a, b), kinds: otherKinds(a, b) };
}

function otherKinds(a: CpuidEvaluation, b: CpuidEvaluation): MovedBits[] {
  if (a.host.rules === b.host.rules) return [];
  return a.registers.flatMap(({ leaf, subleaf, register }) => {
    if (!b.register(leaf, subleaf ?? 0, register)) return [];
    const found: MovedBits[] = [];
    for (let bit = 0; bit < 32; bit++) {
      const [x, y] = [a, b].map((side) => side.bit(leaf, subleaf ?? 0, register, bit)!);
      if (!x || !y || x.kind === y.kind || x.value !== y.value) continue;
      const [from, to] = [x, y].map(({ value, kind, reason }) => ({ value, kind, reason })) as [
        MovedBits['from'],
        MovedBits['to'],
      ];
      const last = found.at(-1);
      const named = x.name !== undefined && { name: x.name };
      if (last?.high === bit - 1 && last.name === x.name && last.from.kind === from.kind && last.to.kind === to.kind) {
        last.high = bit;
      } else {
        found.push({ leaf, subleaf: subleaf ?? 0, register, high: bit, low: bit, ...named, from, to });
      }
    }
    return found;
  });
}
