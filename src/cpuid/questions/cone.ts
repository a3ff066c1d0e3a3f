import { bitNumbers } from '../../td/bits.js';
import { REGISTERS } from '../expression/ast.js';
import type { CpuidRegister } from '../names.js';
import { bitOrigin, type Condition, describeExpression } from '../origin.js';
import type { PartialHost } from '../partial/host.js';
import { type Knob, knobKey } from './knobs.js';

const MANY = 4;

/** A bit of a TD. */
export interface Bit {
  leaf: number;
  subleaf: number;
  register: CpuidRegister;
  bit: number;
}

/**
 * Everything that a TD's owner may turn to change a bit, by the rules: the bit itself where it is configurable, XFAM and
 * attributes in its conditions, and the same of the bits that they look at; and the bits that the module checks together with
 * one of these. Nearest first.
 */
export function knobsFor(host: PartialHost, start: readonly Bit[]): Knob[] {
  const { rules, partial } = host;
  const found = new Map<string, Knob>();
  const seen = new Set<string>();
  const queue: Bit[] = [...start];
  const add = (knob: Knob): void => void found.set(knobKey(knob), found.get(knobKey(knob)) ?? knob);

  const follow = (condition: Condition | undefined): void => {
    if (!condition) return;
    const { names, registers } = condition.references;
    // A mask of many bits is a calculation over all of XFAM, which no one bit decides.
    for (const [field, kind] of [
      ['xfam', 'xfam'],
      ['attributes', 'attribute'],
    ] as const) {
      for (const bit of bitNumbers(names.get(field) ?? 0n)) {
        const known =
          field === 'xfam'
            ? bit > 1 && bit < 20
            : Object.values(rules.document.names['attributes'] ?? {}).includes(bit);
        if (known) add({ kind, bit });
      }
    }
    for (const { of, leaf, subleaf, register, mask } of registers) {
      const bits = bitNumbers(BigInt(mask));
      if (of === 'native' || bits.length > MANY) continue;
      for (const bit of bits) queue.push({ leaf, subleaf: subleaf ?? 0, register: REGISTERS[register]!, bit });
    }
  };

  for (let next = queue.shift(); next; next = queue.shift()) {
    const { leaf, subleaf, register, bit } = next;
    const i = rules.find(leaf, null) ?? rules.find(leaf, subleaf);
    const key = knobKey({ kind: 'bit', ...next });
    if (i === undefined || seen.has(key)) continue;
    seen.add(key);
    const r = REGISTERS.indexOf(register);
    const origin = bitOrigin(partial, i, r, bit);
    if (origin.source === 'configured' || origin.source === 'allowed') add({ kind: 'bit', ...next });
    for (const needed of origin.xfam) add({ kind: 'xfam', bit: needed });
    follow(origin.only);
    follow(origin.set);
    follow(origin.guest);
    for (const check of partial.entries[i]!.checks) {
      const condition = describeExpression(partial, check);
      const touches = condition.references.registers.some(
        (at) => at.leaf === leaf && at.register === r && (at.mask >>> bit) & 1,
      );
      if (touches) follow(condition);
    }
  }
  return [...found.values()];
}
