import { KVM_CAP, KVM_X86_TDX_VM } from '../kvm/constants.js';
import type { CpuidEntry } from '../kvm/cpuid.js';
import { AbortError, KvmError } from '../kvm/errors.js';
import type { KvmSystem } from '../kvm/system.js';
import { placeOf, placeText } from './places.js';
import { initVmOf, keyOf, type Row, type Settings } from './settings.js';
import { type LearnState, LearnStateError, type Shown } from './state.js';

/** What came of an experiment. */
export type Outcome = { shown: Shown; refused?: undefined } | { shown?: undefined; refused: string };

/** The end of a run before everything is learnt. */
export class Stopped extends Error {
  constructor(
    readonly why: 'max-tds' | 'max-ms' | 'aborted' | 'error',
    override readonly cause?: unknown,
  ) {
    super(why);
  }
}

export interface LaboratoryLimits {
  /** Most TDs tried in this run. */
  maxTds: number;
  maxMs: number;
  signal?: AbortSignal | undefined;
  /** Tries of one TD while the host is busy. */
  maxTries: number;
  /** Called after every experiment of this run. */
  onExperiment: (tds: number, experiments: number) => void;
}

// No entropy, KeyIDs or cgroup used up by others, memory short, a signal: another try may help.
const BUSY = new Set(['EAGAIN', 'EBUSY', 'ENOSPC', 'EINTR', 'ENOMEM']);
const SPLIT_IRQCHIP_PINS = 24n;
const KHZ_PER_UNIT = 25_000;
const LONGEST_WAIT_MS = 250;

const refusalOf = ({ code, tdxStatus }: KvmError): string =>
  [code, tdxStatus?.name, tdxStatus?.operand].filter(Boolean).join(' ');

/**
 * Makes throw-away TDs one after the other, so that never more than one KeyID is held, and keeps the record. What the record
 * already has is not tried again.
 */
export class Laboratory {
  /** KVM_TDX_INIT_VM of this run, accepted or not, without retries. */
  tds = 0;
  retries = 0;
  /** Accepted experiments, in order, with what GET_CPUID shows in full. */
  readonly accepted: { settings: Settings; shown: Shown }[] = [];
  readonly #known = new Map<string, Outcome>();
  readonly #start = performance.now();
  /** Experiments of the record that this run has come to. */
  #replayed = 0;
  #first: Shown | undefined;

  constructor(
    readonly system: KvmSystem,
    readonly rows: readonly Row[],
    readonly state: LearnState,
    readonly limits: LaboratoryLimits,
  ) {}

  get refused(): number {
    return this.#replayed - this.accepted.length;
  }

  /** Tries a TD, or looks it up. @throws Stopped at a limit. @throws LearnStateError if the record went another way. */
  async run(settings: Settings): Promise<Outcome> {
    const key = keyOf(settings);
    const known = this.#known.get(key);
    if (known) return known;
    const recorded = this.state.experiments[this.#replayed];
    if (recorded && recorded.given !== key)
      throw new LearnStateError(`experiments[${this.#replayed}] is not the one that comes next. Start anew without it`);
    const outcome = recorded
      ? recorded.refused === undefined
        ? { shown: { ...this.#first, ...recorded.shown } }
        : { refused: recorded.refused }
      : await this.#try(settings);
    if (!recorded) this.#record(key, outcome);
    this.#replayed++;
    this.#known.set(key, outcome);
    if (outcome.shown) {
      this.#first ??= outcome.shown;
      this.accepted.push({ settings, shown: outcome.shown });
    }
    if (!recorded) this.limits.onExperiment(this.tds, this.#replayed);
    return outcome;
  }

  #record(given: string, { shown, refused }: Outcome): void {
    const first = this.#first;
    this.state.experiments.push(
      shown
        ? { given, shown: Object.fromEntries(Object.entries(shown).filter(([place, text]) => first?.[place] !== text)) }
        : { given, refused },
    );
  }

  async #try(settings: Settings): Promise<Outcome> {
    if (this.tds >= this.limits.maxTds) throw new Stopped('max-tds');
    this.tds++;
    let doubted = false;
    for (let tries = 1; ; tries++) {
      // Lets an abort and timers through, between one TD and the next.
      await new Promise<void>((resolve) => setImmediate(resolve));
      this.#checkTime();
      try {
        const shown = this.#build(settings);
        // KVM leaves out a leaf that the module was too busy to show.
        if (doubted || !this.#first || samePlaces(shown, this.#first)) return { shown };
        doubted = true;
      } catch (error) {
        if (!(error instanceof KvmError)) throw error;
        const { code, request } = error;
        if (BUSY.has(code) && tries < this.limits.maxTries) {
          this.retries++;
          await new Promise((resolve) => setTimeout(resolve, Math.min(2 ** tries, LONGEST_WAIT_MS)));
          continue;
        }
        // EIO may be a status about these settings that KVM keeps to itself, or an accident: that one does not come twice.
        if (request === 'KVM_TDX_INIT_VM' && code === 'EIO' && !doubted) {
          doubted = true;
          continue;
        }
        const answer = request === 'KVM_TDX_INIT_VM' && (code === 'EINVAL' || code === 'EIO');
        if (answer || request === 'KVM_SET_TSC_KHZ') return { refused: refusalOf(error) };
        throw new Stopped('error', error);
      }
    }
  }

  #checkTime(): void {
    const { signal, maxMs } = this.limits;
    if (signal?.aborted) throw new Stopped('aborted', new AbortError(signal.reason));
    if (performance.now() - this.#start > maxMs) throw new Stopped('max-ms');
  }

  /** One TD from KVM_CREATE_VM to its end. */
  #build(settings: Settings): Shown {
    const vm = this.system.createVm(KVM_X86_TDX_VM);
    try {
      vm.enableCap(KVM_CAP.SPLIT_IRQCHIP, [SPLIT_IRQCHIP_PINS]);
      if (settings.maxVcpus > 0) vm.enableCap(KVM_CAP.MAX_VCPUS, [BigInt(settings.maxVcpus)]);
      if (settings.tsc > 0) vm.setTscKhz(settings.tsc * KHZ_PER_UNIT);
      vm.tdx.initVm(initVmOf(settings, this.rows));
      return shownOf(vm.createVcpu(0).tdx.getCpuid());
    } finally {
      vm.close();
    }
  }
}

const samePlaces = (a: Shown, b: Shown): boolean =>
  Object.keys(a).length === Object.keys(b).length && Object.keys(a).every((place) => place in b);

const shownOf = (entries: readonly CpuidEntry[]): Shown =>
  Object.fromEntries(
    entries.map((entry) => {
      const registers = [entry.eax, entry.ebx, entry.ecx, entry.edx];
      return [placeText(placeOf(entry)), registers.map((value) => value.toString(16).padStart(8, '0')).join('')];
    }),
  );
