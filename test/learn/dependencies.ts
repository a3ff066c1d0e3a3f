import type { LearntRule } from '../../src/learn/index.js';
import { Inputs, type Shown, type Truth, type TruthInput } from './truth.js';

/** What one bit was seen to do. */
export interface BitFacts {
  value: number;
  /** Positions in the list of inputs. */
  depends: Set<number>;
}

interface Input {
  name: string;
  /** Another value of this input alone; undefined where there is none. */
  change(input: TruthInput): TruthInput | undefined;
}

/** Everything that can be changed alone, or (XFAM) with as few other bits as the module demands. */
function inputsOf(truth: Truth): Input[] {
  const inputs: Input[] = [];
  for (const field of ['xfam', 'attributes'] as const) {
    const sets = truth.acceptedSets(field);
    // Differences between accepted sets that contain no smaller difference.
    const differences = [...new Set(sets.flatMap((a) => sets.map((b) => a ^ b)))].filter((d) => d !== 0n);
    const least = differences.filter((d) => !differences.some((e) => e !== d && (d & e) === e));
    for (const difference of least) {
      const change = (input: TruthInput) => {
        const set = input[field] ^ difference;
        return sets.includes(set) ? { ...input, [field]: set } : undefined;
      };
      inputs.push({ name: `${field} ${difference.toString(16)}`, change });
    }
  }
  inputs.push({ name: 'gpaw', change: (input) => ({ ...input, gpaw: input.gpaw === 48 ? 52 : 48 }) });
  for (let bit = 0; bit < 9; bit++)
    inputs.push({ name: `tsc ${bit}`, change: (input) => ({ ...input, tsc: input.tsc ^ (1 << bit) }) });
  truth.capabilities.cpuid.forEach(({ function: leaf }, row) => {
    for (let n = 0; n < 128; n++) {
      if (leaf === 0x1f || !((truth.mask(row, n >> 5) >>> (n & 31)) & 1)) continue;
      const slot = row * 4 + (n >> 5);
      const change = (input: TruthInput) => {
        const cpuid = input.cpuid.slice();
        cpuid[slot]! ^= 1 << (n & 31);
        return { ...input, cpuid };
      };
      inputs.push({ name: `config ${slot} ${n & 31}`, change });
    }
  });
  return inputs;
}

const CONTEXTS = 24;

/** By brute force: changes every input in many surroundings and looks which bits change with it. */
export function dependenciesOf(truth: Truth): { bits: BitFacts[]; inputs: string[] } {
  const inputs = inputsOf(truth);
  const random = new Inputs(truth, 99);
  const fullest = (field: 'xfam' | 'attributes') =>
    truth
      .acceptedSets(field)
      .reduce((best, set) => (set.toString(2).length > best.toString(2).length ? set : best), 0n);
  const full = truth.acceptedSets('xfam').reduce((best, set) => (count(set) > count(best) ? set : best), 0n);
  const contexts = Array.from({ length: CONTEXTS }, (_, n) =>
    // Half of them with all of XFAM, and some with the highest attribute: there is most to be seen.
    random.next(
      { ...(n % 2 === 0 && { xfam: full }), ...(n % 4 === 0 && { attributes: fullest('attributes') }) },
      false,
    ),
  );
  const bits: BitFacts[] = Array.from({ length: truth.places.length * 128 }, () => ({ value: 0, depends: new Set() }));
  for (const context of contexts) {
    const before = truth.show(context);
    if (!before) throw new Error('the context is refused');
    before.forEach((value, slot) => {
      for (let bit = 0; bit < 32; bit++) bits[slot * 32 + bit]!.value |= (value >>> bit) & 1;
    });
    inputs.forEach(({ change }, n) => {
      const changed = change(context);
      const after = changed && truth.show(changed);
      if (after) note(bits, before, after, n);
    });
  }
  return { bits, inputs: inputs.map(({ name }) => name) };
}

const count = (set: bigint): number => set.toString(2).replaceAll('0', '').length;

function note(bits: readonly BitFacts[], before: Shown, after: Shown, input: number): void {
  before.forEach((value, slot) => {
    for (let rest = (value ^ after[slot]!) >>> 0; rest !== 0; rest &= rest - 1)
      bits[slot * 32 + 31 - Math.clz32(rest & -rest)]!.depends.add(input);
  });
}

/** The inputs that a learnt rule names for a bit, spelt as above. */
export function inputsNamedBy(rule: LearntRule, own: string | undefined, truth: Truth, bit: number): string[] {
  const found = new Set<string>();
  if (rule.kind === 'configured') found.add(own!);
  for (const field of ['xfam', 'attributes'])
    for (const group of (rule.when ?? '').matchAll(new RegExp(`${field}\\[\\d+\\](?: && ${field}\\[\\d+\\])*`, 'g')))
      for (const set of splitSets(group[0], field, truth)) found.add(`${field} ${set.toString(16)}`);
  if (rule.when?.includes('config_flags[0]')) found.add('gpaw');
  if (rule.value?.startsWith('tsc_frequency')) found.add(`tsc ${bit}`);
  for (const [, leaf, subleaf, register, n] of (rule.when ?? '').matchAll(
    /config\((0x[0-9a-f]+|\d+)(?:\.(0x[0-9a-f]+|\d+))?\.(e[abcd]x)\[(\d+)\]\)/g,
  )) {
    const row = truth.capabilities.cpuid.findIndex(
      (e) => e.function === Number(leaf) && e.index === Number(subleaf ?? 0),
    );
    found.add(`config ${row * 4 + ['eax', 'ebx', 'ecx', 'edx'].indexOf(register!)} ${n}`);
  }
  return [...found].sort();
}

/** `xfam[2] && xfam[9]` are two inputs, `xfam[5] && xfam[6] && xfam[7]` one: that which changes together. */
function splitSets(text: string, field: string, truth: Truth): bigint[] {
  const bits = [...text.matchAll(/\[(\d+)\]/g)].map(([, n]) => 1n << BigInt(n!));
  const sets = truth.acceptedSets(field as 'xfam' | 'attributes');
  const together = (a: bigint, b: bigint) => sets.every((set) => ((set & a) === 0n) === ((set & b) === 0n));
  return [...new Set(bits.map((a) => bits.filter((b) => together(a, b)).reduce((sum, b) => sum | b, 0n)))];
}
