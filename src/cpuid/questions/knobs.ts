import { TD_ATTRIBUTES } from '../../td/attributes.js';
import { bitNumbers, hex, maskOf, type NamedBitsTable } from '../../td/bits.js';
import { entryAt, withBits } from '../../td/cpuid-entries.js';
import type { ResolvedTd } from '../../td/resolve.js';
import type { TdConfig } from '../../td/schema.js';
import { toU32 } from '../../td/values.js';
import { XFAM_ALWAYS, XFAM_FEATURES } from '../../td/xfam.js';
import { type CpuidRegister, cpuidPlace, featureAtBit, findFeature } from '../names.js';

/** One thing about a TD that its owner may turn: a CPUID bit that is configurable, a group of XFAM, an attribute. */
export type Knob =
  | { kind: 'bit'; leaf: number; subleaf: number; register: CpuidRegister; bit: number }
  | { kind: 'xfam' | 'attribute'; bit: number };

/** A knob and where to turn it. */
export type Turn = { knob: Knob; to: 0 | 1 };

export const knobKey = (knob: Knob): string =>
  knob.kind === 'bit' ? `${knob.leaf}.${knob.subleaf}.${knob.register}.${knob.bit}` : `${knob.kind}.${knob.bit}`;

// XFAM bits that must be alike, and AVX-512 needs AVX: what every module checks (module.mng-init.xfam-avx512, -cet, -amx).
const AVX = maskOf(XFAM_FEATURES.AVX);
const ALIKE = [maskOf(XFAM_FEATURES.AVX512) & ~AVX, maskOf(XFAM_FEATURES.CET), maskOf(XFAM_FEATURES.AMX)];

/** `xfam` with one bit turned, and those that have to go with it. */
export function turnXfam(xfam: bigint, bit: number, to: 0 | 1): bigint {
  const one = 1n << BigInt(bit);
  const group = ALIKE.find((mask) => (mask & one) !== 0n) ?? one;
  if (to) return xfam | group | (group === ALIKE[0] ? AVX : 0n);
  return xfam & ~group & ~(one === AVX ? ALIKE[0]! : 0n);
}

/** The mask in the names of a table, largest groups first, or as a number where a bit has no name. */
function named<T extends NamedBitsTable>(table: T, mask: bigint): (keyof T & string)[] | string {
  const names: (keyof T & string)[] = [];
  let left = mask;
  const entries = Object.entries(table).sort(([, a], [, b]) => b.bits.length - a.bits.length);
  for (const [name, entry] of entries) {
    const bits = maskOf(entry);
    if ((mask & bits) !== bits || (left & bits) === 0n) continue;
    names.push(name);
    left &= ~bits;
  }
  return left === 0n ? names : hex(mask);
}

export const xfamNames = (xfam: bigint) => named(XFAM_FEATURES, xfam & ~XFAM_ALWAYS);
export const attributeNames = (attributes: bigint) => named(TD_ATTRIBUTES, attributes);

/** The configuration with one CPUID bit turned, where it is given already or else by the name of its feature. */
function turnBit(config: TdConfig, td: ResolvedTd, knob: Knob & { kind: 'bit' }, to: 0 | 1): TdConfig {
  const { leaf, subleaf, register, bit } = knob;
  const one = (1 << bit) >>> 0;
  const turned = withBits(entryAt(td.cpuid, leaf, subleaf)?.[register] ?? 0, one, to ? one : 0);
  const feature = featureAtBit(leaf, subleaf, register, bit);
  const features = Object.entries(config.features ?? {}).filter(([name]) => findFeature(name) !== feature);
  const entries = config.cpuid ?? [];
  const given = entries.findIndex(
    (entry) => toU32(entry.leaf) === leaf && toU32(entry.subleaf ?? 0) === subleaf && entry[register] !== undefined,
  );
  const next: TdConfig = { ...config };
  if (given >= 0) next.cpuid = entries.map((entry, i) => (i === given ? { ...entry, [register]: turned } : entry));
  else if (!feature) next.cpuid = [...entries, { leaf, subleaf, [register]: turned }];
  if (!feature || given >= 0) {
    if (config.features) next.features = Object.fromEntries(features);
    return next;
  }
  const number = Math.floor(turned / 2 ** feature.low) % 2 ** (feature.high - feature.low + 1);
  next.features = { ...Object.fromEntries(features), [feature.name]: feature.high === feature.low ? to === 1 : number };
  return next;
}

/** The configuration, which is `td` on its host, with one knob turned. */
export function turn(config: TdConfig, td: ResolvedTd, { knob, to }: Turn): TdConfig {
  if (knob.kind === 'xfam') return { ...config, xfam: xfamNames(turnXfam(td.xfam, knob.bit, to)) };
  if (knob.kind === 'bit') return turnBit(config, td, knob, to);
  const one = 1n << BigInt(knob.bit);
  return { ...config, attributes: attributeNames(to ? td.attributes | one : td.attributes & ~one) };
}

/** What turning it means, for people: `set XFAM AVX512`. */
export function turnText({ knob, to }: Turn): string {
  const verb = to ? 'set' : 'clear';
  if (knob.kind === 'bit') {
    const { leaf, subleaf, register, bit } = knob;
    const feature = featureAtBit(leaf, subleaf, register, bit);
    const place = cpuidPlace(leaf, subleaf, register, bit);
    return `${verb} ${feature && feature.high === feature.low ? `${feature.name} (${place})` : place}`;
  }
  if (knob.kind === 'attribute') return `${verb} ATTRIBUTES ${namesText(attributeNames(1n << BigInt(knob.bit)))}`;
  const all = (1n << 64n) - 1n;
  const bits = to ? turnXfam(0n, knob.bit, 1) : all & ~turnXfam(all, knob.bit, 0);
  return `${verb} XFAM ${namesText(xfamNames(bits))}`;
}

const namesText = (names: readonly string[] | string): string => (typeof names === 'string' ? names : names.join(', '));

/** Knobs that show in a configuration: for telling what an answer has besides what was asked. */
export const knobsOfMask = (kind: 'xfam' | 'attribute', mask: bigint): Knob[] =>
  bitNumbers(mask).map((bit) => ({ kind, bit }));
