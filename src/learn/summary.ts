import { REGISTERS } from '../cpuid/index.js';
import type { KvmSystem } from '../kvm/system.js';
import type { LearntDocument, LearntExclusion, LearntKind, LearntSettings } from './document.js';
import type { BitGroups } from './groups.js';
import type { Laboratory } from './laboratory.js';
import { bitText } from './places.js';
import type { Literal, Space } from './space.js';
import { placeOfRow } from './variables.js';
import type { RuleWriter } from './write.js';

const hex = (value: number | bigint): string => `0x${value.toString(16)}`;
const SCHEMA = '../schema/learnt-rules.schema.json';

/** Everything that was learnt, as a document. */
export function documentOf(
  system: KvmSystem,
  lab: Laboratory,
  writer: RuleWriter,
  module: string | undefined,
): LearntDocument {
  const { space } = writer;
  const shown = lab.accepted[0]!.shown;
  const place = (slot: number) => placeOfRow(space.rows[slot >> 2]!, shown);
  const literalText = ({ field, bit, value }: Literal): string => {
    const of =
      field === 'config' ? `config(${bitText(place(bit >> 5), (bit >> 5) & 3, bit & 31)})` : `${field}[${bit}]`;
    const text = field === 'gpaw' ? 'config_flags[0]' : of;
    return value ? text : `!${text}`;
  };
  const exclusions: LearntExclusion[] = space.exclusions.map(({ first, second, refused }) => ({
    all: [literalText(first), literalText(second)],
    refused,
  }));
  for (const [a, b] of space.attributes.exclusive)
    exclusions.push({ all: [`attributes[${a}]`, `attributes[${b}]`], refused: 'EINVAL' });
  for (const [a, b] of space.xfam.exclusive) exclusions.push({ all: [`xfam[${a}]`, `xfam[${b}]`], refused: 'EINVAL' });
  return {
    $schema: SCHEMA,
    known: 'learnt',
    format: 1,
    source: `${system.backend === 'mock' ? 'model' : 'kernel'}: ${system.description}`,
    ...(module !== undefined && { module }),
    settings: settingsOf(space),
    exclusions,
    denied: space.denied.map(({ slot, bit }) => bitText(place(slot), slot & 3, bit)),
    cpuid: [...writer.entries],
    xsave: Object.fromEntries(
      writer.xsave.flatMap(({ size, offset, align }, n) => (size > 0 ? [[n, [size, offset, align ? 1 : 0]]] : [])),
    ),
    experiments: { accepted: lab.accepted.length, refused: lab.refused },
  };
}

const groupsOf = ({ groups, refused }: BitGroups, offered: bigint) => ({
  offered: hex(offered),
  groups: groups.map(({ bits, needs }) => ({ bits, ...(needs.length > 0 && { needs }) })),
  ...(refused.length > 0 && { refused }),
});

function settingsOf(space: Space): LearntSettings {
  const { capabilities, tsc, vcpuLimit, topology } = space;
  return {
    attributes: groupsOf(space.attributes, capabilities.supportedAttrs),
    xfam: groupsOf(space.xfam, capabilities.supportedXfam),
    gpaw: space.wide ? [48, 52] : [48],
    tsc: { host: tsc.hostKhz, ...(tsc.settable && { min: tsc.min * 25_000, max: tsc.max * 25_000 }) },
    ...(vcpuLimit > 0 && { maxVcpus: vcpuLimit }),
    cpuid: space.rows.map(({ leaf, index }, i) => ({
      leaf: hex(leaf),
      index,
      bits: Object.fromEntries(
        REGISTERS.flatMap((name, r) => (space.masks[i * 4 + r] === 0 ? [] : [[name, hex(space.masks[i * 4 + r]!)]])),
      ),
    })),
    ...(topology.length > 0 && { topologyLevels: topology.length }),
  };
}

/** How many bits of the document are of each kind. */
export function countKinds({ cpuid }: LearntDocument): Partial<Record<LearntKind, number>> {
  const counts: Partial<Record<LearntKind, number>> = {};
  for (const { rules } of cpuid)
    for (const { kind, bits } of rules)
      for (const mask of Object.values(bits) as string[])
        counts[kind] = (counts[kind] ?? 0) + Number(mask).toString(2).replaceAll('0', '').length;
  return counts;
}
