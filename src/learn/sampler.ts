import type { Random } from './random.js';
import type { Settings } from './settings.js';
import { configBits, hasBit, type Literal, plainSettings, type Space, setBit } from './space.js';

export interface Topology {
  /** Level types besides CORE; by default any. */
  levels?: readonly number[];
  /** What the levels say of themselves: every bit set, or any. */
  fill: 'ones' | 'random';
}

/** How to fill in the settings of an experiment. */
export interface Wish {
  /** `any` takes a random accepted set. */
  xfam: bigint | 'any';
  cpuid: 'ones' | 'zeros' | 'random';
  /** A topology in leaf 0x1F, otherwise zeros. */
  topology?: Topology | undefined;
  /** Attributes, GPAW, TSC and maximum of vCPUs at random, or as plain as can be. */
  rest: 'random' | 'plain';
}

/** Level types of CPUID(0x1F).ECX[15:8]: every topology has a CORE level; the others are SMT, MODULE, TILE and DIE. */
const CORE = 2;
export const SMT = 1;
export const OTHER_LEVELS = [SMT, 3, 4, 5];
const TRIES = 64;

/** Sets of XFAM that respect which bits go together, at most `limit` of them, the full one and the empty one first. */
export function xfamSets({ xfam }: Space, limit: number): bigint[] {
  const masks = xfam.groups.map(({ bits, needs }) => ({ set: maskOf(bits), all: maskOf([...bits, ...needs]) }));
  const sets = new Set<bigint>([xfam.full, 0n]);
  const add = (set: bigint): void => {
    if (sets.size < limit) sets.add(set);
  };
  // Without one group and those that need it; one group alone with what it needs.
  for (const { set } of masks)
    add(masks.filter(({ all }) => (all & set) === 0n).reduce((sum, { all }) => sum | all, 0n) & xfam.full);
  for (const { all } of masks) add(all);
  for (let n = 0; n < 2 ** Math.min(masks.length, 12); n++)
    add(masks.filter((_, i) => (n >> i) & 1).reduce((sum, { all }) => sum | all, 0n) & xfam.full);
  return [...sets];
}

const maskOf = (bits: readonly number[]): bigint => bits.reduce((mask, n) => mask | (1n << BigInt(n)), 0n);

/** Makes settings that, as far as is known, the host accepts. */
export class Sampler {
  constructor(
    readonly space: Space,
    readonly random: Random,
  ) {}

  settings(wish: Wish): Settings {
    for (let tries = 0; ; tries++) {
      const settings = this.#draw(wish);
      this.#repair(settings);
      const allowed = !this.space.exclusions.some(({ first, second }) => is(settings, first) && is(settings, second));
      if (allowed || tries === TRIES) return settings;
    }
  }

  #draw({ xfam, cpuid, topology, rest }: Wish): Settings {
    const { space, random } = this;
    const settings = plainSettings(space);
    settings.xfam = xfam === 'any' ? this.#anyXfam() : xfam;
    if (cpuid !== 'zeros')
      for (const n of configBits(space)) if (cpuid === 'ones' || random.below(2)) setBit(settings.cpuid, n);
    for (const { slot, value } of space.choices)
      if (cpuid === 'ones' || (cpuid === 'random' && random.below(2))) settings.cpuid[slot]! |= value;
    if (topology) this.#setTopology(settings.cpuid, topology);
    if (rest === 'plain') return settings;
    for (const { bits } of space.attributes.groups) if (random.below(2)) settings.attributes |= maskOf(bits);
    for (const [a, b] of space.attributes.exclusive) {
      const both = maskOf([a, b]);
      if ((settings.attributes & both) === both) settings.attributes &= ~maskOf([random.pick([a, b])]);
    }
    if (space.wide && random.below(2)) settings.gpaw = 52;
    const { tsc, vcpuLimit } = space;
    if (tsc.settable) settings.tsc = tsc.min + random.below(tsc.max - tsc.min + 1);
    if (vcpuLimit > 0) settings.maxVcpus = 1 + random.below(vcpuLimit);
    return settings;
  }

  #anyXfam(): bigint {
    const { groups, full } = this.space.xfam;
    let set = 0n;
    for (const { bits, needs } of groups) if (this.random.below(2)) set |= maskOf([...bits, ...needs]);
    return set & full;
  }

  #anyLevels(): readonly number[] {
    return this.random.below(2) ? OTHER_LEVELS : OTHER_LEVELS.filter(() => this.random.below(2));
  }

  /** Levels of ascending type with a core among them, and nothing behind the last one: what the architecture asks for. */
  #setTopology(cpuid: Uint32Array, { levels = this.#anyLevels(), fill }: Topology): void {
    const { space, random } = this;
    const rows = space.topology;
    const types = [CORE, ...levels].sort((a, b) => a - b).slice(0, rows.length);
    if (!types.includes(CORE)) types[types.length - 1] = CORE;
    rows.forEach((row, subleaf) => {
      const type = types[subleaf] ?? 0;
      const used = type === 0 ? 0 : 0xffff_ffff;
      const number = (): number => (fill === 'ones' ? 0xffff_ffff : random.bits()) & used;
      const values = [number(), number(), (type << 8) | subleaf, 0];
      values.forEach((value, r) => {
        cpuid[row * 4 + r] = value & space.masks[row * 4 + r]!;
      });
    });
  }

  #repair(settings: Settings): void {
    for (const { first, second } of this.space.exclusions) {
      if (!is(settings, first) || !is(settings, second)) continue;
      const changeable = [first, second].filter(({ field }) => field === 'config' || field === 'attributes');
      if (changeable.length > 0) flip(settings, this.random.pick(changeable));
    }
  }
}

/** Whether settings have a bit at a value. */
export function is(
  { attributes, xfam, gpaw, tsc, maxVcpus, cpuid }: Settings,
  { field, bit, value }: Literal,
): boolean {
  const of = { attributes, xfam, gpaw: gpaw === 52 ? 1n : 0n, tsc: BigInt(tsc), max_vcpus: BigInt(maxVcpus) };
  const set = field === 'config' ? hasBit(cpuid, bit) : ((of[field] >> BigInt(bit)) & 1n) === 1n;
  return set === value;
}

function flip(settings: Settings, { field, bit, value }: Literal): void {
  if (field === 'config') setBit(settings.cpuid, bit, !value);
  else settings.attributes ^= 1n << BigInt(bit);
}
