import type { CompiledRules, HostFacts } from '../cpuid/index.js';
import { type Host, REGISTERS, sampleHost } from '../cpuid/index.js';
import type { LearntDocument } from './document.js';
import { LearntModel } from './model.js';
import { type Place, placeText } from './places.js';
import { type Sampler, xfamSets } from './sampler.js';
import { initVmOf, type Settings } from './settings.js';
import type { Literal, Space } from './space.js';

/** IA32_VMX_EPT_VPID_CAP with 5-level EPT: where GPAW 52 was accepted, the processor has it. */
const MSR_EPT_VPID_CAP = '0x48c';
const EPT_5_LEVELS = '0x80';
const TOPOLOGY_LEAVES = [0xb, 0x1f];
/** Leaves of which a TD without wishes sees the host's own: topology, TSC. */
const HOST_LEAVES = [...TOPOLOGY_LEAVES, 0x15];

const wordsOf = (bits: LearntDocument['settings']['cpuid'][number]['bits']): number[] =>
  REGISTERS.map((name) => Number(bits[name] ?? 0));

/** What may be varied, of a document: the space that it was learnt in. */
export function spaceOf({ settings, exclusions, cpuid }: LearntDocument): Space {
  const rows = settings.cpuid.map(({ leaf, index }) => ({ leaf: Number(leaf), index }));
  const masks = Uint32Array.from(settings.cpuid.flatMap(({ bits }) => wordsOf(bits)));
  const rowOf = (leaf: number, index: number): number => rows.findIndex((r) => r.leaf === leaf && r.index === index);
  const space: Space = {
    capabilities: {
      supportedAttrs: BigInt(settings.attributes.offered),
      supportedXfam: BigInt(settings.xfam.offered),
      kernelTdvmcallinfo1R11: 0n,
      userTdvmcallinfo1R11: 0n,
      kernelTdvmcallinfo1R12: 0n,
      userTdvmcallinfo1R12: 0n,
      cpuid: [],
    },
    rows,
    masks,
    refusedBits: new Uint32Array(masks.length),
    choices: [],
    denied: [],
    exclusions: [],
    xfam: groupsOf(settings.xfam),
    attributes: groupsOf(settings.attributes),
    wide: settings.gpaw.includes(52),
    tsc: {
      settable: settings.tsc.min !== undefined,
      hostKhz: settings.tsc.host,
      min: (settings.tsc.min ?? 0) / 25_000,
      max: (settings.tsc.max ?? 0) / 25_000,
    },
    vcpuLimit: settings.maxVcpus ?? 0,
    topology: Array.from({ length: settings.topologyLevels ?? 0 }, (_, n) => rowOf(0x1f, n)),
  };
  for (const { leaf, subleaf, rules } of cpuid) {
    const row = rowOf(Number(leaf), Number(subleaf ?? 0));
    if (row < 0) continue;
    for (const { kind, bits, value } of rules)
      wordsOf(bits).forEach((mask, r) => {
        const slot = row * 4 + r;
        const configurable = mask & masks[slot]!;
        if (configurable === 0 || Number(leaf) === 0x1f) return;
        if (kind === 'host-value') space.choices.push({ slot, value: Number(value) });
        if (kind === 'host-value' || kind.startsWith('fixed')) space.refusedBits[slot]! |= configurable;
      });
  }
  for (const { all, refused } of exclusions) {
    const [first, second] = all.map((text) => literalOf(text, rowOf));
    if (!first || !second) continue;
    const exclusive = first.field === 'attributes' && second.field === 'attributes' && first.value && second.value;
    if (exclusive) space.attributes.exclusive.push([first.bit, second.bit]);
    else space.exclusions.push({ first, second, refused });
  }
  return space;
}

function groupsOf({ offered, groups, refused }: LearntDocument['settings']['xfam']): Space['xfam'] {
  const all = groups.flatMap(({ bits }) => bits).reduce((set, bit) => set | (1n << BigInt(bit)), 0n);
  return {
    groups: groups.map(({ bits, needs }) => ({ bits, needs: needs ?? [] })),
    refused: refused ?? [],
    exclusive: [],
    full: all & BigInt(offered),
  };
}

const LITERAL =
  /^(!?)(?:(attributes|xfam|config_flags)\[(\d+)\]|config\(([^.]+)(?:\.([^.]+))?\.(e[abcd]x)\[(\d+)\]\))$/;

/** An exclusion's part from its text; undefined for one of another form, which is then not kept to. */
function literalOf(text: string, rowOf: (leaf: number, index: number) => number): Literal | undefined {
  const match = LITERAL.exec(text);
  if (!match) return undefined;
  const [, not, field, bit, leaf, subleaf, register, n] = match;
  const value = not === '';
  if (field === 'config_flags') return { field: 'gpaw', bit: 0, value };
  if (field === 'attributes' || field === 'xfam') return { field, bit: Number(bit), value };
  const slot = rowOf(Number(leaf), Number(subleaf ?? 0)) * 4 + REGISTERS.indexOf(register as 'eax');
  return slot < 0 ? undefined : { field: 'config', bit: slot * 32 + Number(n), value };
}

/**
 * A processor that could be the one of the learnt host: bits that a TD can see or configure are native ones. What a document
 * asks about the processor beyond that is not known, and taken for 0.
 */
export function inferHost(learnt: LearntDocument, rules: CompiledRules, samples: readonly Settings[]): Host {
  const model = new LearntModel(learnt);
  const space = spaceOf(learnt);
  const native = new Map<string, { place: Place; values: number[] }>();
  samples.forEach((settings, n) => {
    for (const { values, ...place } of predict(model, space, settings)) {
      if (n > 0 && HOST_LEAVES.includes(place.leaf)) continue;
      const seen = native.get(placeText(place)) ?? { place, values: [0, 0, 0, 0] };
      native.set(placeText(place), { place, values: seen.values.map((value, r) => (value | values[r]!) >>> 0) });
    }
  });
  for (const [i, { leaf, index }] of space.rows.entries()) {
    const row = [...native.values()].find(({ place }) => place.leaf === leaf && (place.subleaf ?? 0) === index);
    // The capabilities list what is native.
    const whole = leaf === 1 || leaf === 4 || leaf === 0x8000_0008 || TOPOLOGY_LEAVES.includes(leaf);
    if (row && !whole) row.values = row.values.map((value, r) => (value | space.masks[i * 4 + r]!) >>> 0);
  }
  const facts: HostFacts = {
    cpuid: [...native.values()].map(({ place: { leaf, subleaf }, values: [eax, ebx, ecx, edx] }) => ({
      leaf,
      subleaf,
      eax: eax!,
      ebx: ebx!,
      ecx: ecx!,
      edx: edx!,
    })),
    msr: { [MSR_EPT_VPID_CAP]: space.wide ? EPT_5_LEVELS : '0x0' },
  };
  return sampleHost(rules, facts);
}

/** What the learnt rules say of a TD. */
export function predict(model: LearntModel, space: Space, settings: Settings): ReturnType<LearntModel['cpuid']> {
  const { cpuid } = initVmOf(settings, space.rows);
  const { attributes, xfam, gpaw, tsc, maxVcpus } = settings;
  return model.cpuid({
    attributes,
    xfam,
    gpaw,
    cpuid,
    ...(tsc > 0 && { tscKhz: tsc * 25_000 }),
    ...(maxVcpus > 0 && { maxVcpus }),
  });
}

/** TDs by which two sets of rules are compared, the plainest first. */
export function* samplesOf(space: Space, sampler: Sampler, random: number): Generator<Settings> {
  const { full } = space.xfam;
  yield sampler.settings({ xfam: 0n, cpuid: 'zeros', rest: 'plain' });
  for (const xfam of xfamSets(space, 64)) {
    yield sampler.settings({ xfam, cpuid: 'ones', rest: 'plain' });
    yield sampler.settings({ xfam, cpuid: 'zeros', rest: 'plain' });
  }
  for (const { bits } of space.attributes.groups)
    for (const cpuid of ['ones', 'zeros'] as const) {
      const settings = sampler.settings({ xfam: full, cpuid, rest: 'plain' });
      for (const bit of bits) settings.attributes |= 1n << BigInt(bit);
      yield settings;
    }
  for (let n = 0; n < random; n++)
    yield sampler.settings({
      xfam: 'any',
      cpuid: 'random',
      ...(space.topology.length > 0 && n % 3 === 0 && { topology: { fill: 'random' } }),
      rest: 'random',
    });
}
