import type { Laboratory } from './laboratory.js';
import type { Settings } from './settings.js';
import { configBits, type Exclusion, hasBit, type Literal, plainSettings, type Space, setBit } from './space.js';

const copy = (settings: Settings): Settings => ({ ...settings, cpuid: settings.cpuid.slice() });

/**
 * The least n for which `refused(n)` holds, which it does for `length` and not for 0: one step of a way from what is
 * accepted to what is refused.
 */
async function firstRefused(length: number, refused: (n: number) => Promise<boolean>): Promise<number> {
  let [accepted, low] = [0, length];
  while (low - accepted > 1) {
    const middle = (low + accepted) >> 1;
    if (await refused(middle)) low = middle;
    else accepted = middle;
  }
  return low;
}

/** Finds which configurable CPUID bits the host refuses all the same, and what it takes in their place. */
export async function findRefusedBits(lab: Laboratory, space: Space, xfam: bigint): Promise<void> {
  const accepts = async (bits: readonly number[]): Promise<boolean> => {
    const settings = { ...plainSettings(space), xfam };
    for (const n of bits) setBit(settings.cpuid, n);
    return (await lab.run(settings)).shown !== undefined;
  };
  let candidates = configBits(space);
  while (candidates.length > 0 && !(await accepts(candidates))) {
    const length = await firstRefused(candidates.length, async (n) => !(await accepts(candidates.slice(0, n))));
    const culprit = candidates[length - 1]!;
    if (await accepts([culprit])) {
      // Refused with an earlier one only.
      const partners = candidates.slice(0, length - 1);
      const with_ = await firstRefused(
        partners.length,
        async (n) => !(await accepts([...partners.slice(0, n), culprit])),
      );
      const literal = (bit: number): Literal => ({ field: 'config', bit, value: true });
      const settings = { ...plainSettings(space), xfam };
      for (const n of [partners[with_ - 1]!, culprit]) setBit(settings.cpuid, n);
      const { refused } = await lab.run(settings);
      space.exclusions.push({
        first: literal(partners[with_ - 1]!),
        second: literal(culprit),
        refused: refused ?? 'with others',
      });
      candidates = candidates.filter((n) => n !== culprit);
      continue;
    }
    const register = candidates.filter((n) => n >> 5 === culprit >> 5);
    const refused = [culprit];
    for (const n of register) if (n !== culprit && !(await accepts([n]))) refused.push(n);
    candidates = candidates.filter((n) => !refused.includes(n));
    await settleRegister(space, refused, accepts, lab);
  }
}

/** Bits of one register, each of which is refused alone: a value as a whole, bits that must be equal, or never. */
async function settleRegister(
  space: Space,
  refused: readonly number[],
  accepts: (bits: readonly number[]) => Promise<boolean>,
  lab: Laboratory,
): Promise<void> {
  const slot = refused[0]! >> 5;
  if (refused.length > 1 && refused.length <= 4 && (await accepts(refused))) {
    const [first, ...others] = refused;
    for (const other of others)
      for (const value of [true, false])
        space.exclusions.push({
          first: { field: 'config', bit: first!, value },
          second: { field: 'config', bit: other, value: !value },
          refused: 'must be equal',
        });
    return;
  }
  for (const n of refused) setBit(space.refusedBits, n);
  // What a TD gets where nobody asks may be what can be asked for.
  const { leaf, index } = space.rows[slot >> 2]!;
  const own = Object.entries(lab.accepted[0]?.shown ?? {}).find(([place]) => {
    const [l, s] = place.split('.').map(Number);
    return l === leaf && (s ?? 0) === index;
  });
  const given = own ? Number.parseInt(own[1].slice((slot & 3) * 8, (slot & 3) * 8 + 8), 16) : 0;
  const value = (given & space.masks[slot]!) >>> 0;
  const bits = Array.from({ length: 32 }, (_, bit) => slot * 32 + bit).filter((n) => (value >>> (n & 31)) & 1);
  if (value !== 0 && (await accepts(bits))) {
    space.refusedBits[slot] = space.masks[slot]!;
    space.choices.push({ slot, value });
  }
}

/** Finds bits outside the masks that KVM itself denies to TDs: those it refuses without a status of the module. */
export async function findDenied(lab: Laboratory, space: Space): Promise<void> {
  const denies = async (bits: readonly number[]): Promise<boolean> => {
    const settings = plainSettings(space);
    for (const n of bits) setBit(settings.cpuid, n);
    return (await lab.run(settings)).refused === 'EINVAL';
  };
  let outside: number[] = [];
  space.masks.forEach((mask, slot) => {
    const { leaf } = space.rows[slot >> 2]!;
    if (leaf === 0x1f) return;
    for (let bit = 0; bit < 32; bit++)
      if (!((mask >>> bit) & 1) && !(leaf === 0x8000_0008 && bit >= 16 && bit < 24)) outside.push(slot * 32 + bit);
  });
  while (outside.length > 0 && (await denies(outside))) {
    const length = await firstRefused(outside.length, (n) => denies(outside.slice(0, n)));
    const culprit = outside[length - 1]!;
    space.denied.push({ slot: culprit >> 5, bit: culprit & 31 });
    outside = outside.filter((n) => n !== culprit);
  }
}

/**
 * Says which two settings of a refused TD exclude each other, going from accepted settings to the refused ones one setting at
 * a time. @returns undefined where that cannot be told.
 */
export async function findExclusion(
  lab: Laboratory,
  space: Space,
  accepted: Settings,
  refused: Settings,
): Promise<Exclusion | undefined> {
  const steps = differences(accepted, refused, space);
  const refuses = async (chosen: readonly Step[]): Promise<string | undefined> => {
    const settings = copy(accepted);
    for (const step of chosen) step.apply(settings);
    return (await lab.run(settings)).refused;
  };
  const length = await firstRefused(steps.length, async (n) => (await refuses(steps.slice(0, n))) !== undefined);
  const culprit = steps[length - 1]!;
  if (await refuses([culprit])) return undefined;
  const before = steps.slice(0, length - 1);
  const at = await firstRefused(
    before.length,
    async (n) => (await refuses([...before.slice(0, n), culprit])) !== undefined,
  );
  const partner = before[at - 1]!;
  const why = await refuses([partner, culprit]);
  if (why === undefined || !culprit.literal || !partner.literal) return undefined;
  return { first: partner.literal, second: culprit.literal, refused: why };
}

interface Step {
  apply: (settings: Settings) => void;
  /** Undefined where the step is more than one bit. */
  literal?: Literal;
}

function differences(from: Settings, to: Settings, { rows }: Space): Step[] {
  const steps: Step[] = [];
  if (from.xfam !== to.xfam) steps.push(whole('xfam', from.xfam ^ to.xfam, to.xfam, (s) => (s.xfam = to.xfam)));
  for (let bit = 0; bit < 64; bit++) {
    const mask = 1n << BigInt(bit);
    if (((from.attributes ^ to.attributes) & mask) === 0n) continue;
    const literal: Literal = { field: 'attributes', bit, value: (to.attributes & mask) !== 0n };
    steps.push({ literal, apply: (s) => (s.attributes = (s.attributes & ~mask) | (to.attributes & mask)) });
  }
  if (from.gpaw !== to.gpaw)
    steps.push({ literal: { field: 'gpaw', bit: 0, value: to.gpaw === 52 }, apply: (s) => (s.gpaw = to.gpaw) });
  if (from.tsc !== to.tsc) steps.push({ apply: (s) => (s.tsc = to.tsc) });
  if (from.maxVcpus !== to.maxVcpus) steps.push({ apply: (s) => (s.maxVcpus = to.maxVcpus) });
  // A topology makes sense as a whole only.
  const topology = rows.flatMap(({ leaf }, i) => (leaf === 0x1f ? [i * 4, i * 4 + 1, i * 4 + 2, i * 4 + 3] : []));
  if (topology.some((slot) => from.cpuid[slot] !== to.cpuid[slot]))
    steps.push({
      apply: (s) => {
        for (const slot of topology) s.cpuid[slot] = to.cpuid[slot]!;
      },
    });
  for (let n = 0; n < from.cpuid.length * 32; n++) {
    const value = hasBit(to.cpuid, n);
    if (rows[n >> 7]!.leaf === 0x1f || value === hasBit(from.cpuid, n)) continue;
    steps.push({ literal: { field: 'config', bit: n, value }, apply: (s) => setBit(s.cpuid, n, value) });
  }
  return steps;
}

const whole = (field: 'xfam', changed: bigint, to: bigint, apply: (s: Settings) => void): Step => {
  const bit = changed.toString(2).length - 1;
  return { apply, literal: { field, bit, value: ((to >> BigInt(bit)) & 1n) === 1n } };
};
