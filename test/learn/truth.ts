import { evaluateTd, type Host, loadRules, loadTdParams, sampleHost } from '../../src/cpuid/index.js';
import type { CpuidEntry, TdxCapabilities } from '../../src/kvm/index.js';
import { loadProfile, type Profile } from '../../src/mock/index.js';

/**
 * What a host's TDs show, of its rules document and nothing else: builds TD_PARAMS as Linux does and evaluates them. Knows no
 * kinds of bits and nothing of how learning works; what depends on what is found by trying.
 */
export interface TruthInput {
  attributes: bigint;
  xfam: bigint;
  gpaw: 48 | 52;
  /** Units of 25 MHz. */
  tsc: number;
  maxVcpus: number;
  /** EAX to EDX of each row of the capabilities. */
  cpuid: Uint32Array;
}

/** Bits of all leaves, EAX to EDX of each. */
export type Shown = Uint32Array;

const GPAW_LEAF = 0x8000_0008;
const TDCX_PAGES = 6;
const LAST_LEAF = 0x23;

export class Truth {
  readonly host: Host;
  readonly profile: Profile;
  /** The leaves that GET_CPUID shows: all that the module lets be read. */
  readonly places: readonly {
    leaf: number;
    subleaf: number | null;
    /** Position among the entries; undefined: always zero, without an entry. */
    at: number | undefined;
  }[];
  /** Position in TD_PARAMS.CPUID_CONFIG of each row. */
  readonly #slots: readonly number[];
  readonly #params = new Uint8Array(1024);
  readonly #accepted = new Map<string, bigint[]>();

  constructor(
    profile: string | Profile,
    readonly capabilities: TdxCapabilities,
  ) {
    this.profile = typeof profile === 'string' ? loadProfile(profile) : profile;
    const rules = loadRules(this.profile.module.version!);
    this.host = sampleHost(rules, this.profile.platform as never);
    const entries = rules.entries.flatMap(({ leaf, subleaf, faulting }, at) =>
      faulting || (leaf > LAST_LEAF && leaf < 0x8000_0000) ? [] : [{ leaf, subleaf, at }],
    );
    const zeros = rules.unlisted.flatMap(({ fixed, leaves }) => (fixed ? [...leaves!] : []));
    const zeroPlaces = zeros
      .filter((leaf) => rules.find(leaf, null) === undefined)
      .map((leaf) => ({ leaf, subleaf: null, at: undefined }));
    this.places = [...entries, ...zeroPlaces];
    this.#slots = capabilities.cpuid.map(
      ({ function: leaf, index }) =>
        rules.entries.find((e) => e.config >= 0 && e.leaf === leaf && (e.subleaf ?? 0) === index)!.config,
    );
  }

  plain(): TruthInput {
    return {
      attributes: 0n,
      xfam: 0n,
      gpaw: 48,
      tsc: Math.floor(this.profile.kernel.tscKhz / 25_000),
      maxVcpus: this.profile.kernel.presentCpus,
      cpuid: new Uint32Array(this.capabilities.cpuid.length * 4),
    };
  }

  /** What GET_CPUID shows, or undefined where KVM or the module refuses. */
  show({ attributes, xfam, gpaw, tsc, maxVcpus, cpuid }: TruthInput): Shown | undefined {
    const { capabilities, host } = this;
    if (attributes & ~capabilities.supportedAttrs || xfam & ~capabilities.supportedXfam) return undefined;
    this.#params.fill(0);
    const view = new DataView(this.#params.buffer);
    view.setBigUint64(0, attributes, true);
    view.setBigUint64(8, xfam | 3n, true);
    view.setUint16(16, maxVcpus, true);
    view.setBigUint64(24, gpaw === 52 ? 0x26n : 0x1en, true);
    view.setBigUint64(32, gpaw === 52 ? 5n : 4n, true);
    view.setUint16(40, tsc, true);
    this.#slots.forEach((slot, row) => {
      for (let r = 0; r < 4; r++) view.setUint32(256 + slot * 16 + r * 4, cpuid[row * 4 + r]!, true);
    });
    loadTdParams(host, this.#params, TDCX_PAGES);
    if (evaluateTd(host)) return undefined;
    const shown = new Uint32Array(this.places.length * 4);
    this.places.forEach(({ leaf, at }, i) => {
      if (at === undefined) return;
      shown.set(host.scope.virtual.subarray(at * 4, at * 4 + 4), i * 4);
      if (leaf === GPAW_LEAF) shown[i * 4] = ((shown[i * 4]! & ~0xff_0000) | (gpaw << 16)) >>> 0;
    });
    return shown;
  }

  /** The entries of KVM_TDX_INIT_VM for an input. */
  entries({ cpuid, gpaw }: TruthInput): CpuidEntry[] {
    return this.capabilities.cpuid.map(({ function: leaf, index }, i) => {
      const [eax = 0, ebx = 0, ecx = 0, edx = 0] = cpuid.subarray(i * 4, i * 4 + 4);
      const width = leaf === GPAW_LEAF ? gpaw << 16 : 0;
      return { function: leaf, index, flags: 1, eax: ((eax & ~width) | width) >>> 0, ebx, ecx, edx };
    });
  }

  /** Configurable bits of a register, without the GPAW. */
  mask(row: number, register: number): number {
    const entry = this.capabilities.cpuid[row]!;
    const mask = entry[(['eax', 'ebx', 'ecx', 'edx'] as const)[register]!];
    return entry.function === GPAW_LEAF && register === 0 ? mask & ~0xff_0000 : mask;
  }

  /** Every subset of the offered bits that is accepted with nothing configured. */
  acceptedSets(field: 'xfam' | 'attributes'): bigint[] {
    const known = this.#accepted.get(field) ?? this.#findAcceptedSets(field);
    this.#accepted.set(field, known);
    return known;
  }

  #findAcceptedSets(field: 'xfam' | 'attributes'): bigint[] {
    const offered = field === 'xfam' ? this.capabilities.supportedXfam & ~3n : this.capabilities.supportedAttrs;
    const bits = Array.from({ length: 64 }, (_, n) => 1n << BigInt(n)).filter((bit) => offered & bit);
    return Array.from({ length: 2 ** bits.length }, (_, n) =>
      bits.reduce((set, bit, i) => ((n >> i) & 1 ? set | bit : set), 0n),
    ).filter((set) => this.show({ ...this.plain(), [field]: set }));
  }
}

/** Numbers below `limit`, the same in every run. */
export function generator(seed: number): (limit: number) => number {
  let state = BigInt(seed) | 1n;
  return (limit) => {
    state = (state * 6364136223846793005n + 1442695040888963407n) & ((1n << 64n) - 1n);
    return Number(((state >> 32n) * BigInt(limit)) >> 32n);
  };
}

/** Draws accepted inputs: anything that the capabilities offer, CPUID(1).EAX the host's or 0, topologies as the SDM has them. */
export class Inputs {
  readonly #below: (limit: number) => number;
  readonly #xfam: bigint[];
  readonly #attributes: bigint[];
  readonly #fms: number;

  constructor(
    readonly truth: Truth,
    seed = 7,
  ) {
    this.#below = generator(seed);
    this.#xfam = truth.acceptedSets('xfam');
    this.#attributes = truth.acceptedSets('attributes');
    this.#fms = truth.show(truth.plain())![truth.places.findIndex(({ leaf }) => leaf === 1) * 4]!;
  }

  next(overrides: Partial<TruthInput> = {}, topology = this.#below(3) === 0): TruthInput {
    const below = this.#below;
    const { truth } = this;
    const pick = <T>(from: readonly T[]): T => from[below(from.length)]!;
    const settable = truth.profile.kernel.maxVcpusSettable === true;
    const input: TruthInput = {
      attributes: pick(this.#attributes),
      xfam: pick(this.#xfam),
      gpaw: truth.host.msr(0x48c) & 0x80n && below(2) ? 52 : 48,
      tsc: 4 + below(397),
      maxVcpus: settable ? 1 + below(100) : truth.profile.kernel.presentCpus,
      cpuid: this.#cpuid(),
      ...overrides,
    };
    if (topology) this.#addTopology(input.cpuid);
    return input;
  }

  #cpuid(): Uint32Array {
    const rows = this.truth.capabilities.cpuid;
    const cpuid = new Uint32Array(rows.length * 4);
    rows.forEach(({ function: leaf }, i) => {
      for (let r = 0; r < 4 && leaf !== 0x1f; r++)
        cpuid[i * 4 + r] = (this.#below(2 ** 32) & this.truth.mask(i, r)) >>> 0;
      if (leaf === 1) cpuid[i * 4] = this.#below(2) ? this.#fms : 0;
    });
    return cpuid;
  }

  #addTopology(cpuid: Uint32Array): void {
    const types = [1, 2, 3, 4, 5].filter((type) => type === 2 || this.#below(3) > 0);
    this.truth.capabilities.cpuid.forEach(({ function: leaf, index }, i) => {
      if (leaf !== 0x1f) return;
      const type = types[index];
      cpuid.set([0, 0, index, 0], i * 4);
      if (type) cpuid.set([this.#below(0x20), this.#below(0x1_0000), (type << 8) | index, 0], i * 4);
    });
  }
}
