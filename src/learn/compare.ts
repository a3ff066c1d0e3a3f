import { type CompiledRules, evaluateTd, Host, loadTdParams, REGISTERS, type RulesDocument } from '../cpuid/index.js';
import { inferHost, predict, samplesOf, spaceOf } from './compare-facts.js';
import type { LearntDocument, LearntRule } from './document.js';
import { LearntModel } from './model.js';
import { type Place, placeText } from './places.js';
import { Random } from './random.js';
import { Sampler } from './sampler.js';
import type { Settings } from './settings.js';
import type { Space } from './space.js';

/** A difference between learnt rules and a document's: the host is right. */
export interface Contradiction {
  /** `7.0`; the whole TD where one of them refuses it. */
  place: string;
  register?: (typeof REGISTERS)[number];
  /** Bits that differ. */
  bits?: number;
  /** What was learnt, and what the document says. */
  learnt: string;
  document: string;
  /** A TD for which they differ: its register by what was learnt and by the document. */
  example?: { learnt: number; document: number };
}

/** Random TDs that are compared, besides those that vary one thing. */
const RANDOM_SAMPLES = 48;
const TDCX_PAGES = 6;
const TD_PARAMS_SIZE = 1024;

/**
 * Every contradiction between what was learnt and a rules document, found by evaluating both for many TDs: bits that differ,
 * leaves that one of them lacks, TDs that the document refuses although such were made.
 * @param against a document's rules, for which the processor is inferred from what was learnt, or a host whose processor is known.
 */
export function compareLearnt(learnt: LearntDocument, against: CompiledRules | Host): Contradiction[] {
  const space = spaceOf(learnt);
  const samples = [...samplesOf(space, new Sampler(space, new Random(1)), RANDOM_SAMPLES)];
  const host = against instanceof Host ? against : inferHost(learnt, against, samples);
  const model = new LearntModel(learnt);
  const found = new Map<string, Contradiction>();
  const { differences, unknown } = configurableDifferences(learnt, space, host.rules);
  for (const settings of samples) {
    // What the document would refuse has been said; the rest can still be compared.
    settings.cpuid.forEach((value, slot) => {
      settings.cpuid[slot] = value & ~unknown[slot]!;
    });
    loadTdParams(host, tdParamsOf(settings, space, host.rules), TDCX_PAGES);
    const refusal = evaluateTd(host);
    if (refusal) {
      const document = `refused by ${refusal.rule}`;
      found.set(document, { place: 'TD', learnt: 'such TDs are accepted', document });
      continue;
    }
    for (const { values, known, ...place } of predict(model, space, settings)) {
      const at = host.rules.find(place.leaf, place.subleaf);
      if (at === undefined) continue;
      values.forEach((value, register) => {
        const theirs = host.scope.virtual[at * 4 + register]!;
        const shown = place.leaf === 0x8000_0008 && register === 0 ? known[register]! & ~0xff_0000 : known[register]!;
        for (let rest = ((value ^ theirs) & shown) >>> 0; rest !== 0; rest &= rest - 1) {
          const bit = 31 - Math.clz32(rest & -rest);
          note(found, place, register, bit, learnt, host.rules.document, { learnt: value, document: theirs });
        }
      });
    }
  }
  return [...leafDifferences(learnt, host.rules), ...differences, ...found.values()];
}

function note(
  found: Map<string, Contradiction>,
  place: Place,
  register: number,
  bit: number,
  learnt: LearntDocument,
  document: RulesDocument,
  example: { learnt: number; document: number },
): void {
  const said = learntText(learnt, place, register, bit);
  const says = documentText(document, place, register, bit);
  const key = [placeText(place), register, said, says].join('|');
  const known = found.get(key);
  const bits = ((known?.bits ?? 0) | (1 << bit)) >>> 0;
  const name = REGISTERS[register]!;
  found.set(key, {
    place: placeText(place),
    register: name,
    bits,
    learnt: said,
    document: says,
    example,
    ...(known && { example: known.example! }),
  });
}

/** TD_PARAMS as Linux fills it in, for a document's offsets. */
function tdParamsOf(
  settings: Settings,
  { rows, tsc, vcpuLimit }: Space,
  { document, entries }: CompiledRules,
): Uint8Array {
  const params = new Uint8Array(TD_PARAMS_SIZE);
  const view = new DataView(params.buffer);
  const put = (name: string, value: bigint): void => {
    const [offset, size] = document.tdParams.fields[name] ?? [0, 0];
    for (let i = 0; i < size; i++) view.setUint8(offset + i, Number((value >> BigInt(8 * i)) & 0xffn));
  };
  const wide = settings.gpaw === 52;
  put('attributes', settings.attributes);
  put('xfam', settings.xfam | 3n);
  put('max_vcpus', BigInt(settings.maxVcpus || vcpuLimit || 1));
  put('eptp_controls', wide ? 0x26n : 0x1en);
  put('config_flags', wide ? 5n : 4n);
  put('tsc_frequency', BigInt(settings.tsc || Math.floor(tsc.hostKhz / 25_000)));
  rows.forEach(({ leaf, index }, i) => {
    const slot = entries.find((e) => e.config >= 0 && e.leaf === leaf && (e.subleaf ?? 0) === index)?.config;
    if (slot === undefined) return;
    for (let r = 0; r < 4; r++)
      view.setUint32(document.tdParams.cpuidConfig + slot * 16 + r * 4, settings.cpuid[i * 4 + r]!, true);
  });
  return params;
}

/** Bits that can be configured, or not, in contradiction to the document; `unknown` are those that it does not let be set. */
function configurableDifferences(
  learnt: LearntDocument,
  { rows, masks }: Space,
  { document, entries }: CompiledRules,
): { differences: Contradiction[]; unknown: Uint32Array } {
  const unknown = new Uint32Array(masks.length);
  const differences: Contradiction[] = [];
  rows.forEach(({ leaf, index }, i) => {
    const entry = entries.find((e) => e.leaf === leaf && (e.subleaf ?? 0) === index);
    REGISTERS.forEach((register, r) => {
      const place = { leaf, subleaf: entry ? entry.subleaf : index };
      const mask = masks[i * 4 + r]!;
      const configured = entry && entry.config >= 0 ? entry.configured[r]! : 0;
      const allowed = entry && entry.config >= 0 ? entry.allowed[r]! : 0;
      unknown[i * 4 + r] = mask & ~(configured | allowed);
      const denied = learnt.denied.reduce((bits, text) => {
        const bit = /\[(\d+)\]$/.exec(text);
        return bit && text.startsWith(`${placeText(place)}.${register}[`) ? bits | (1 << Number(bit[1])) : bits;
      }, 0);
      // Allowed bits are listed where the processor has them.
      const missing = (configured & ~mask & ~denied) >>> 0;
      const add = (bits: number, said: string): void => {
        const bit = 31 - Math.clz32(bits);
        const says = documentText(document, place, r, bit);
        differences.push({ place: placeText(place), register, bits, learnt: said, document: says });
      };
      if (unknown[i * 4 + r] !== 0) add(unknown[i * 4 + r]!, 'configurable');
      if (missing !== 0) add(missing, 'not configurable');
    });
  });
  return { differences, unknown };
}

function leafDifferences(
  learnt: LearntDocument,
  { entries, lastLeaf, unlisted, find }: CompiledRules,
): Contradiction[] {
  const places = learnt.cpuid.map(
    ({ leaf, subleaf }): Place => ({ leaf: Number(leaf), subleaf: subleaf === undefined ? null : Number(subleaf) }),
  );
  const shown = new Set(places.map(placeText));
  const zeros = unlisted.flatMap(({ fixed, leaves }) => (fixed ? [...(leaves ?? [])] : []));
  const readable: Place[] = [
    ...entries.filter(
      ({ faulting, leaf }) => !faulting && (leaf <= lastLeaf || (leaf >= 0x8000_0000 && leaf <= 0x8000_0008)),
    ),
    ...zeros.filter((leaf) => find(leaf, null) === undefined).map((leaf) => ({ leaf, subleaf: null })),
  ];
  const listed = new Set(readable.map(placeText));
  return [
    ...places
      .filter((place) => !listed.has(placeText(place)))
      .map((place) => ({ place: placeText(place), learnt: 'TDs show this leaf', document: 'not readable' })),
    ...readable
      .filter((place) => !shown.has(placeText(place)))
      .map((place) => ({ place: placeText(place), learnt: 'TDs do not show this leaf', document: 'readable' })),
  ];
}

/** A learnt rule in words. */
export function ruleText({ kind, when, otherwise, value, formula }: LearntRule): string {
  const how = formula ?? value ?? (when && `${when}${otherwise ? ', otherwise 1' : ''}`);
  return how === undefined ? kind : `${kind}: ${how}`;
}

function learntText({ cpuid }: LearntDocument, place: Place, register: number, bit: number): string {
  const entry = cpuid.find((e) => Number(e.leaf) === place.leaf && Number(e.subleaf ?? 0) === (place.subleaf ?? 0));
  const rule = entry?.rules.find(({ bits }) => (Number(bits[REGISTERS[register]!] ?? 0) >>> bit) & 1);
  return rule ? ruleText(rule) : 'nothing';
}

/** What a document says of a bit, in its own terms. */
function documentText({ cpuid, topology }: RulesDocument, place: Place, register: number, bit: number): string {
  const entry = cpuid.find((e) => Number(e.leaf) === place.leaf && Number(e.subleaf ?? 0) === (place.subleaf ?? 0));
  if (!entry) return 'nothing';
  if (topology && place.leaf === 0xb) return `calculated from 0x1f: ${topology.derive}`;
  const name = REGISTERS[register]!;
  const has = (masks: { [R in (typeof REGISTERS)[number]]?: string } | undefined): boolean =>
    ((Number(masks?.[name] ?? 0) >>> bit) & 1) === 1;
  const calculated = Object.entries(entry.set ?? {}).find(([field]) => {
    const [, r, high, low] = /^(e[abcd]x)(?:\[(\d+)(?::(\d+))?\])?$/.exec(field) ?? [];
    return r === name && bit <= Number(high ?? 31) && bit >= Number(low ?? high ?? 0);
  });
  const kind = calculated
    ? `calculated: ${calculated[1]}`
    : has(entry.configured)
      ? 'configured'
      : has(entry.allowed)
        ? 'allowed'
        : has(entry.one)
          ? 'fixed 1'
          : has(entry.zero)
            ? 'fixed 0'
            : 'native';
  const xfam = Object.entries(entry.xfam ?? {}).flatMap(([bits, masks]) =>
    has(masks)
      ? [
          bits
            .split(' ')
            .map((n) => `xfam[${n}]`)
            .join(' && '),
        ]
      : [],
  );
  const conditions = [...xfam, ...(entry.only === undefined ? [] : [entry.only])];
  return conditions.length > 0 ? `${kind}, 0 unless ${conditions.join(' and ')}` : kind;
}
