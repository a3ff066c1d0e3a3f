import { entryAt } from '../../td/cpuid-entries.js';
import type { CpuidRegister } from '../names.js';
import { askedOf } from '../questions/evaluate.js';
import { type CpuidEvaluation, registerNumber } from '../questions/evaluation.js';

/** Bits of a register that a configuration can ask for: unsigned 32-bit masks. */
export interface RequestedBits {
  /** Those that can be asked for. */
  readonly mask: number;
  readonly value: number;
  /** What is asked for is the host's default, and the host is not known. */
  readonly unknown: number;
}

const low32 = (value: bigint): number => Number(value & 0xffff_ffffn);

/** What the configuration asks for in a register; undefined where nothing of it can be asked for. */
export function requestedBits(
  evaluation: CpuidEvaluation,
  leaf: number,
  subleaf: number | null,
  register: CpuidRegister,
): RequestedBits | undefined {
  const { host, resolved } = evaluation;
  if (host.facts) {
    const mask = entryAt(host.facts.capabilities.cpuid, leaf, subleaf ?? 0)?.[register] ?? 0;
    const asked = entryAt(resolved.cpuid, leaf, subleaf ?? 0)?.[register] ?? 0;
    return mask === 0 ? undefined : { mask, value: (asked & mask) >>> 0, unknown: 0 };
  }
  const i = host.rules?.entries.findIndex((entry) => entry.leaf === leaf && entry.subleaf === subleaf) ?? -1;
  const entry = host.rules?.entries[i];
  const r = registerNumber(register);
  const asked = askedOf(evaluation)?.[i * 4 + r];
  if (!entry || !asked || entry.config < 0) return undefined;
  const mask = (entry.configured[r]! | entry.allowed[r]!) >>> 0;
  if (mask === 0) return undefined;
  return { mask, value: (low32(asked.value) & mask) >>> 0, unknown: (low32(asked.unknown) & mask) >>> 0 };
}
