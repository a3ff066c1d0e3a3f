import type { KvmSystem } from '../kvm/system.js';
import type { LearntDocument } from './document.js';
import { findGroups } from './groups.js';
import { Laboratory, Stopped } from './laboratory.js';
import { LearntModel } from './model.js';
import { placeText } from './places.js';
import { Random } from './random.js';
import { findDenied, findExclusion, findRefusedBits } from './refusals.js';
import { OTHER_LEVELS, Sampler, SMT, type Topology, type Wish, xfamSets } from './sampler.js';
import { initVmOf, type Settings } from './settings.js';
import { bitsOf, openSpace, plainSettings, type Space } from './space.js';
import { checkState, hostText, type LearnState, parseState } from './state.js';
import { documentOf } from './summary.js';
import { numbersOf, RuleWriter } from './write.js';

export interface LearnProgress {
  /** What is being found out. */
  phase: string;
  /** TDs tried in this run. */
  tds: number;
  /** Experiments in all, with those of the state that was resumed. */
  experiments: number;
}

export interface LearnOptions {
  /** Most TDs tried in this run, accepted or not; default 600. */
  maxTds?: number;
  /** Most milliseconds of this run; default 30 minutes. */
  maxMs?: number;
  signal?: AbortSignal;
  /** Of an earlier run that was stopped, as JSON. It is not changed. */
  state?: unknown;
  /** Which random settings are tried; the same for a run and its continuation. Default 1. */
  seed?: number;
  /** Tries of one TD while the host is busy (EAGAIN, EBUSY, ENOSPC, EINTR, ENOMEM); default 12. */
  maxTries?: number;
  /** Version of the TDX module, for the document. */
  module?: string;
  onProgress?: (progress: LearnProgress) => void;
}

export interface LearnResult {
  /** Present once everything is learnt. */
  document?: LearntDocument;
  /** Why not everything was learnt: a limit, the signal, or a host that kept failing (`error`). */
  stopped?: 'max-tds' | 'max-ms' | 'aborted' | 'error';
  error?: unknown;
  /** Pass it back in to go on. */
  state: LearnState;
  /** TDs tried in this run, accepted or not; `retries` are tries beyond the first of a TD. */
  tds: number;
  retries: number;
}

/** Random settings with all of XFAM; enough to tell a thousand bits from each other. */
const CODE_TESTS = 32;
/** Topologies with all levels, besides one of each kind: the innermost level is in these only. */
const FULL_TOPOLOGIES = 8;
/** Topologies without SMT whose levels have every bit set: what is taken from an SMT level only shows by its absence. */
const TOPOLOGIES_WITHOUT_SMT = 10;
/** Further tests, a few at a time, while two conditions explain a bit equally well. */
const TESTS_OF_DOUBT = 4;
/** XFAM sets that are tried with every configurable bit set. */
const MOST_XFAM_SETS = 24;
/** Random settings that must come out as predicted, one after the other, before the rules are believed. */
const CONFIRMATIONS = 24;
/** A host that keeps surprising leaves unknown bits; those need no more tests than this. */
const MOST_CONFIRMATIONS = 96;

/**
 * Learns how the CPUID of a host's TDs follows from their configuration, without any table: builds throw-away TDs (KVM_CREATE_VM, split irqchip,
 * KVM_TDX_INIT_VM, one vCPU, KVM_TDX_GET_CPUID), never two at a time, and infers what decides each bit. Experiments vary hundreds
 * of settings at once; the rules are then confirmed by predicting further ones.
 * @throws KvmError EINVAL of KVM_CREATE_VM where KVM offers no TDs. @throws LearnStateError for a state that does not fit.
 */
export async function learnCpuid(system: KvmSystem, options: LearnOptions = {}): Promise<LearnResult> {
  const { seed = 1 } = options;
  const space = openSpace(system);
  const host = hostText(space.capabilities, space.tsc.hostKhz, space.vcpuLimit > 0);
  const state: LearnState =
    options.state === undefined
      ? { known: 'experiments', format: 1, host, seed, experiments: [] }
      : structuredClone(parseState(options.state));
  checkState(state, host, seed);
  let phase = '';
  const lab = new Laboratory(system, space.rows, state, {
    maxTds: options.maxTds ?? 600,
    maxMs: options.maxMs ?? 1_800_000,
    signal: options.signal,
    maxTries: options.maxTries ?? 12,
    onExperiment: (tds, experiments) => options.onProgress?.({ phase, tds, experiments }),
  });
  const student = new Student(lab, space, new Sampler(space, new Random(seed)), (next) => {
    phase = next;
  });
  try {
    const writer = await student.learn();
    const document = documentOf(system, lab, writer, options.module);
    return { document, state, tds: lab.tds, retries: lab.retries };
  } catch (error) {
    if (!(error instanceof Stopped)) throw error;
    const { why, cause } = error;
    return {
      stopped: why,
      ...(cause !== undefined && { error: cause }),
      state,
      tds: lab.tds,
      retries: lab.retries,
    };
  }
}

/** Goes through the phases of learning. */
class Student {
  constructor(
    readonly lab: Laboratory,
    readonly space: Space,
    readonly sampler: Sampler,
    readonly enter: (phase: string) => void,
  ) {}

  async learn(): Promise<RuleWriter> {
    this.enter('a TD with nothing configured');
    const plain = await this.lab.run(plainSettings(this.space));
    if (!plain.shown) throw new Stopped('error', new Error(`the host refuses the plainest TD: ${plain.refused}`));
    await this.#findSettings();
    await this.#varyBits();
    return this.#confirm();
  }

  /** Which settings there are, and which go together. */
  async #findSettings(): Promise<void> {
    const { space, lab } = this;
    const accepts = async (change: Partial<Settings>): Promise<boolean> =>
      (await lab.run({ ...plainSettings(space), ...change })).shown !== undefined;
    const { supportedXfam, supportedAttrs } = space.capabilities;
    this.enter('which XFAM bits go together');
    // KVM sets x87 and SSE itself.
    space.xfam = await findGroups(bitsOf(supportedXfam & ~3n), (xfam) => accepts({ xfam }));
    this.enter('attributes, GPAW, TSC');
    space.attributes = await findGroups(bitsOf(supportedAttrs), (attributes) => accepts({ attributes }));
    space.wide = await accepts({ gpaw: 52 });
    const { tsc } = space;
    if (tsc.settable) tsc.settable = (await accepts({ tsc: tsc.min })) && (await accepts({ tsc: tsc.max }));
    if (space.vcpuLimit > 0 && !(await accepts({ maxVcpus: 1 }))) space.vcpuLimit = 0;
    this.enter('which CPUID bits are refused');
    await findRefusedBits(lab, space, space.xfam.full);
    await findDenied(lab, space);
  }

  async #varyBits(): Promise<void> {
    const { space } = this;
    this.enter('what each CPUID bit does');
    for (let n = 0; n < CODE_TESTS; n++)
      await this.#test({ xfam: space.xfam.full, cpuid: 'random', rest: n < 2 ? 'plain' : 'random' });
    this.enter('what XFAM does');
    for (const xfam of xfamSets(space, MOST_XFAM_SETS)) await this.#test({ xfam, cpuid: 'ones', rest: 'random' });
    await this.#test({ xfam: space.xfam.full, cpuid: 'zeros', rest: 'plain' });
    if (space.topology.length === 0) return;
    this.enter('what a topology does');
    for (const topology of this.#topologies()) {
      const wish: Wish = { xfam: space.xfam.full, cpuid: 'random', topology, rest: 'random' };
      // One that is refused is reason enough: KVM warns in its log about topologies that a module does not understand.
      if (await this.#test(wish)) continue;
      space.topology = [];
      return;
    }
  }

  *#topologies(): Generator<Topology> {
    for (let n = 0; n < 2 ** OTHER_LEVELS.length; n++)
      yield { levels: OTHER_LEVELS.filter((_, i) => (n >> i) & 1), fill: 'random' };
    for (let n = 0; n < FULL_TOPOLOGIES; n++) yield { levels: OTHER_LEVELS, fill: n === 0 ? 'ones' : 'random' };
    const { random } = this.sampler;
    for (let n = 0; n < TOPOLOGIES_WITHOUT_SMT; n++)
      yield { levels: OTHER_LEVELS.filter((level) => level !== SMT && random.below(2)), fill: 'ones' };
  }

  /** Predicts experiments from the rules, and mends the rules, until nothing surprises any more. */
  async #confirm(): Promise<RuleWriter> {
    const { lab } = this;
    let { writer, model } = this.#rules();
    let right = 0;
    for (let tests = 0; tests < MOST_CONFIRMATIONS; tests++) {
      if (right >= CONFIRMATIONS) {
        ({ writer, model } = this.#rules());
        if (writer.doubtful === 0) return this.#checked(writer, model);
        right -= TESTS_OF_DOUBT;
      }
      this.enter(`confirming the rules: ${right} of ${CONFIRMATIONS} predictions right`);
      const topology = this.#anyTopology(writer.doubtful > 0 ? 2 : 3);
      const before = lab.accepted.length;
      await this.#test({ xfam: 'any', cpuid: 'random', topology, rest: 'random' });
      if (lab.accepted.length === before) continue;
      if (this.#surprises(model)) {
        ({ writer, model } = this.#rules());
        right = 0;
      } else right++;
    }
    ({ writer, model } = this.#rules());
    return this.#checked(writer, model);
  }

  /** A topology in one of `every` experiments. */
  #anyTopology(every: number): Topology | undefined {
    const { random } = this.sampler;
    if (this.space.topology.length === 0 || random.below(every) > 0) return undefined;
    return { levels: OTHER_LEVELS.filter(() => random.below(2)), fill: random.below(4) ? 'random' : 'ones' };
  }

  /** Rules must at least give back what they were made of. */
  #checked(writer: RuleWriter, model: LearntModel): RuleWriter {
    const wrong = this.lab.accepted.findIndex((experiment) => this.#surprises(model, experiment));
    if (wrong >= 0) throw new Error(`the learnt rules do not reproduce accepted experiment ${wrong}`);
    return writer;
  }

  /** One experiment; a refusal is explained, so that it is not asked for again, and another one tried. */
  async #test(wish: Wish): Promise<boolean> {
    for (let tries = 0; tries < 4; tries++) {
      const settings = this.sampler.settings(wish);
      const outcome = await this.lab.run(settings);
      if (outcome.shown) return true;
      if (wish.topology) return false;
      const accepted = this.lab.accepted[0]!.settings;
      const exclusion = await findExclusion(this.lab, this.space, accepted, settings);
      if (!exclusion) return false;
      this.space.exclusions.push(exclusion);
    }
    return false;
  }

  #rules(): { writer: RuleWriter; model: LearntModel } {
    const seen = this.lab.accepted.map(({ settings, shown }) => ({ settings, shown: numbersOf(shown) }));
    const writer = new RuleWriter(this.space, seen, this.lab.accepted[0]!.shown);
    return { writer, model: new LearntModel(documentOf(this.lab.system, this.lab, writer, undefined)) };
  }

  /** Whether an experiment, by default the last, shows a bit that the rules predict otherwise. */
  #surprises(model: LearntModel, { settings, shown } = this.lab.accepted.at(-1)!): boolean {
    const { attributes, xfam, gpaw, cpuid } = { ...settings, ...initVmOf(settings, this.space.rows) };
    const rows = model.cpuid({
      attributes,
      xfam,
      gpaw,
      cpuid,
      ...(settings.tsc > 0 && { tscKhz: settings.tsc * 25_000 }),
      ...(settings.maxVcpus > 0 && { maxVcpus: settings.maxVcpus }),
    });
    const numbers = numbersOf(shown);
    return rows.some((row) =>
      row.values.some((value, r) => ((value ^ (numbers[placeText(row)]?.[r] ?? 0)) & row.known[r]!) !== 0),
    );
  }
}
