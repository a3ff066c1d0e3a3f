import * as basic from './names/basic.js';
import * as extended from './names/extended.js';
import { LEAF_1 } from './names/leaf-1.js';
import { LEAF_7_0, LEAF_7_1, LEAF_7_2 } from './names/leaf-7.js';
import type { BitRange, CpuidRegister, LeafNames } from './names/table.js';
import * as xstate from './names/xstate.js';
import { nearestName } from './nearest.js';

export type { CpuidRegister } from './names/table.js';

export const CPUID_REGISTERS = ['eax', 'ebx', 'ecx', 'edx'] as const satisfies readonly CpuidRegister[];

/** A named bit or field of CPUID. */
export interface CpuidFeature {
  readonly name: string;
  readonly aliases: readonly string[];
  readonly leaf: number;
  /** 0 also for leaves without sub-leaves. */
  readonly subleaf: number;
  readonly register: CpuidRegister;
  /** Highest and lowest bit; the same for a single bit. */
  readonly high: number;
  readonly low: number;
  /** The bits as an unsigned 32-bit number. */
  readonly mask: number;
  readonly meaning: string;
}

const TABLES: readonly LeafNames[] = [
  LEAF_1,
  LEAF_7_0,
  LEAF_7_1,
  LEAF_7_2,
  ...Object.values(basic),
  ...Object.values(xstate),
  ...Object.values(extended),
];

const ends = (bits: BitRange): readonly [number, number] => (typeof bits === 'number' ? [bits, bits] : bits);
const rangeMask = (high: number, low: number) => ((2 ** (high - low + 1) - 1) * 2 ** low) >>> 0;

/** Every named bit and field, in the order of the tables. */
export const CPUID_FEATURES: readonly CpuidFeature[] = TABLES.flatMap(({ leaf, subleaves, rows }) =>
  subleaves.flatMap((subleaf) =>
    rows.map(([name, register, bits, meaning, ...aliases]) => {
      const [high, low] = ends(bits);
      const suffix = subleaves.length > 1 ? `.${subleaf}` : '';
      const spelt = { name: name + suffix, aliases: aliases.map((alias) => alias + suffix) };
      return Object.freeze({ ...spelt, leaf, subleaf, register, high, low, mask: rangeMask(high, low), meaning });
    }),
  ),
);

// Letter case and the separators - and _ do not matter: "amx-bf16" is AMX_BF16. The dots of sub-leaves do.
const key = (name: string) => name.toUpperCase().replace(/[-_]/g, '');

const byName = new Map<string, CpuidFeature>();
for (const feature of CPUID_FEATURES) {
  for (const name of [feature.name, ...feature.aliases]) if (!byName.has(key(name))) byName.set(key(name), feature);
}

/** The feature of this name or alias, in any letter case. */
export const findFeature = (name: string): CpuidFeature | undefined => byName.get(key(name));

/** The name that somebody who wrote `name` most likely meant. */
export const suggestFeature = (name: string): string | undefined =>
  nearestName(
    name,
    CPUID_FEATURES.flatMap(({ name, aliases }) => [name, ...aliases]),
  );

const place = (leaf: number, subleaf: number, register: CpuidRegister) => `${leaf}:${subleaf}:${register}`;
const byPlace = new Map<string, CpuidFeature[]>();
for (const feature of CPUID_FEATURES) {
  const at = place(feature.leaf, feature.subleaf, feature.register);
  byPlace.set(at, [...(byPlace.get(at) ?? []), feature]);
}

/** The named bits and fields of one register of a leaf, lowest first as in the tables. */
export const featuresAt = (leaf: number, subleaf: number, register: CpuidRegister): readonly CpuidFeature[] =>
  byPlace.get(place(leaf, subleaf, register)) ?? [];

/** The feature that `bit` of a register belongs to. */
export const featureAtBit = (
  leaf: number,
  subleaf: number,
  register: CpuidRegister,
  bit: number,
): CpuidFeature | undefined => featuresAt(leaf, subleaf, register).find(({ high, low }) => bit >= low && bit <= high);

const leafText = (leaf: number) => `0x${leaf.toString(16).toUpperCase()}`;

/** `CPUID(0x7,1).EAX[4]`, as the SDM writes places; the sub-leaf is left out for 0. */
export function cpuidPlace(leaf: number, subleaf: number, register: CpuidRegister, high: number, low = high): string {
  const bits = high === low ? `${high}` : `${high}:${low}`;
  return `CPUID(${leafText(leaf)}${subleaf === 0 ? '' : `,${subleaf}`}).${register.toUpperCase()}[${bits}]`;
}

/** `CPUID(0x7,1).EAX`: the whole register. */
export const cpuidRegisterPlace = (leaf: number, subleaf: number, register: CpuidRegister): string =>
  cpuidPlace(leaf, subleaf, register, 31, 0).replace('[31:0]', '');

/** `AVX_VNNI (bit 4), bits 9:8`: the set bits of `mask`, runs of unnamed ones together. */
export function describeCpuidBits(leaf: number, subleaf: number, register: CpuidRegister, mask: number): string {
  const parts: string[] = [];
  for (let bit = 0; bit < 32; bit++) {
    if (((mask >>> bit) & 1) === 0) continue;
    const feature = featureAtBit(leaf, subleaf, register, bit);
    let end = bit;
    const more = (next: number) =>
      next < 32 && ((mask >>> next) & 1) === 1 && featureAtBit(leaf, subleaf, register, next) === feature;
    while (more(end + 1)) end++;
    const range = bit === end ? `bit ${bit}` : `bits ${end}:${bit}`;
    parts.push(feature ? `${feature.name} (${range})` : range);
    bit = end;
  }
  return parts.join(', ');
}
