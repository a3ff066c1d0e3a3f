import type { CpuidEntry } from '../../kvm/cpuid.js';
import { entryAt } from '../../td/cpuid-entries.js';
import type { TdHostFacts } from '../../td/host-facts.js';
import { type ResolvedTd, resolveTd } from '../../td/resolve.js';
import type { TdConfig } from '../../td/schema.js';
import { validateTd } from '../../td/validate.js';
import { unmetDependencies } from '../dependencies.js';
import { CPUID_REGISTERS, type CpuidRegister, featureAtBit } from '../names.js';
import {
  bitValue,
  type CpuidBit,
  type CpuidEvaluation,
  type CpuidRegisterView,
  type RegisterBits,
} from './evaluation.js';
import type { CpuidHost } from './host.js';
import { isRefusedByKvm } from './refusals.js';

const ALL = 0xffff_ffff;

/** Registers of which zeros ask for a value of the host, or of which the module makes something else. */
const isCalculated = (leaf: number, register: CpuidRegister): boolean =>
  leaf === 0x1f || ((leaf === 1 || leaf === 0x8000_0008) && register === 'eax');

/** Of a configurable register, what is certain without the module's rules. */
function registerOf(td: ResolvedTd, mask: CpuidEntry, register: CpuidRegister): RegisterBits {
  const { function: leaf, index } = mask;
  const asked = entryAt(td.cpuid, leaf, index)?.[register] ?? 0;
  // A bit that depends on XFAM or an attribute may stay 0 although it was asked for.
  const unsure = (unmetDependencies(leaf, index, register, td) & asked) >>> 0;
  const known = isCalculated(leaf, register) ? 0 : (mask[register] & ~unsure) >>> 0;
  return { value: (asked & known) >>> 0, unknown: (ALL & ~known) >>> 0, guest: 0 };
}

function reasonOf(mask: CpuidEntry | undefined, register: CpuidRegister, bit: number, value: unknown): string {
  const why = 'there are no rules for the TDX module of this host';
  if (mask === undefined || ((mask[register] >>> bit) & 1) === 0) return `not listed as configurable, and ${why}`;
  if (value === 'unknown') return `configurable, but the module may make something else of it, and ${why}`;
  return `configurable on this host: asked for ${value}`;
}

function bitOf(facts: TdHostFacts, view: CpuidRegisterView, bit: number): CpuidBit {
  const { leaf, register } = view;
  const subleaf = view.subleaf ?? 0;
  const value = bitValue(view.guest, bit) as 0 | 1 | 'unknown';
  const feature = featureAtBit(leaf, subleaf, register, bit);
  const mask = entryAt(facts.capabilities.cpuid, leaf, subleaf);
  const kind = value === 'unknown' ? 'unknown' : 'configured';
  const reason = reasonOf(mask, register, bit, value);
  return { leaf, subleaf, register, bit, ...(feature && { name: feature.name }), value, stored: value, kind, reason };
}

/**
 * What the capabilities say where nobody knows the rules of the module: a bit that is listed as configurable is as it was asked
 * for, unless it depends on something; the rest is unknown.
 * @throws TypeError for a host of which neither rules nor facts are known.
 */
export function evaluateWithoutRules(host: CpuidHost, config: TdConfig): CpuidEvaluation {
  const { facts } = host;
  if (!facts) throw new TypeError(`${host.name}: neither the rules of its module nor what its kernel says is known`);
  const resolved = resolveTd(config, facts);
  const findings = validateTd(config, facts);
  const registers: CpuidRegisterView[] = facts.capabilities.cpuid.flatMap((mask) =>
    CPUID_REGISTERS.map((register) => {
      const bits = registerOf(resolved, mask, register);
      return { leaf: mask.function, subleaf: mask.index, register, stored: bits, guest: bits };
    }),
  );
  const nothing: RegisterBits = { value: 0, unknown: ALL, guest: 0 };
  const register = (leaf: number, subleaf: number, name: CpuidRegister): CpuidRegisterView =>
    registers.find((view) => view.leaf === leaf && view.subleaf === subleaf && view.register === name) ?? {
      leaf,
      subleaf,
      register: name,
      stored: nothing,
      guest: nothing,
    };
  return {
    host,
    config,
    resolved,
    accepted: findings.some(isRefusedByKvm) ? false : 'unknown',
    findings,
    undecided: [],
    registers,
    register,
    bit: (leaf, subleaf, name, bit) => bitOf(facts, register(leaf, subleaf, name), bit),
  };
}
