import { bitText, type Place, placeText } from './places.js';
import type { Row, Settings } from './settings.js';
import { hasBit, type Space } from './space.js';
import type { Shown } from './state.js';

export type VariableKind = 'xfam' | 'attribute' | 'topology' | 'gpaw' | 'tsc' | 'vcpus' | 'config';

/** A condition on the settings that a CPUID bit may follow: mostly one bit of them. */
export interface Variable {
  kind: VariableKind;
  /** As an expression of the rules' language. */
  text: string;
  holds: (settings: Settings) => boolean;
  /** `config`: register * 32 + bit. */
  config?: number;
}

/** A topology is asked for: leaf 0x1F has a level type. */
export const hasTopology = ({ cpuid }: Settings, { topology }: Space): boolean =>
  topology.length > 0 && (cpuid[topology[0]! * 4 + 2]! & 0xff00) !== 0;

const named = (field: string, bits: readonly number[]): string => bits.map((bit) => `${field}[${bit}]`).join(' && ');

/** The place of a configurable row: the capabilities do not say whether its sub-leaf counts, what a TD shows does. */
export const placeOfRow = ({ leaf, index }: Row, shown: Shown): Place =>
  placeText({ leaf, subleaf: null }) in shown ? { leaf, subleaf: null } : { leaf, subleaf: index };

/** Everything that can be varied on this host, as conditions of one bit or of bits that go together. */
export function variablesOf(space: Space, shown: Shown): Variable[] {
  const variables: Variable[] = [];
  for (const field of ['xfam', 'attributes'] as const) {
    const kind = field === 'xfam' ? 'xfam' : 'attribute';
    for (const { bits } of space[field].groups) {
      const mask = bits.reduce((sum, bit) => sum | (1n << BigInt(bit)), 0n);
      variables.push({ kind, text: named(field, bits), holds: (s) => (s[field] & mask) === mask });
    }
  }
  if (space.topology.length > 0) {
    const text = 'config(0x1f.0.ecx[15:8])';
    variables.push({ kind: 'topology', text, holds: (s) => hasTopology(s, space) });
  }
  if (space.wide) variables.push({ kind: 'gpaw', text: 'config_flags[0]', holds: ({ gpaw }) => gpaw === 52 });
  const host = Math.floor(space.tsc.hostKhz / 25_000);
  if (space.tsc.settable) {
    for (let bit = 0; 1 << bit <= space.tsc.max; bit++) {
      const holds = ({ tsc }: Settings) => (((tsc || host) >> bit) & 1) === 1;
      variables.push({ kind: 'tsc', text: `tsc_frequency[${bit}]`, holds });
    }
  }
  for (let bit = 0; 1 << bit <= space.vcpuLimit; bit++) {
    const holds = ({ maxVcpus }: Settings) => (((maxVcpus || space.vcpuLimit) >> bit) & 1) === 1;
    variables.push({ kind: 'vcpus', text: `max_vcpus[${bit}]`, holds });
  }
  space.masks.forEach((mask, slot) => {
    const rowPlace = placeOfRow(space.rows[slot >> 2]!, shown);
    for (let bit = 0; bit < 32; bit++) {
      if (!((mask >>> bit) & 1)) continue;
      const config = slot * 32 + bit;
      const text = `config(${bitText(rowPlace, slot & 3, bit)})`;
      variables.push({ kind: 'config', text, holds: (s) => hasBit(s.cpuid, config), config });
    }
  });
  return variables;
}
