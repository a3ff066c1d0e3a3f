import type { TdxCapabilities } from '../kvm/vm.js';

/** Values that GET_CPUID gave, by place (`7.0`): 32 hexadecimal digits, EAX to EDX. */
export type Shown = Readonly<Record<string, string>>;

/** One experiment: what a TD was made with, and what came of it. */
export interface Experiment {
  given: string;
  /** What GET_CPUID shows; of all but the first accepted experiment only what differs from that one. */
  shown?: Shown;
  /** errno and, where KVM hands it on, the module's status and operand. */
  refused?: string;
}

/** Everything that a run has seen: pass it back in, and learning goes on where it stopped. JSON. */
export interface LearnState {
  known: 'experiments';
  format: 1;
  /** What the host offered; another host's experiments are of no use. */
  host: string;
  seed: number;
  experiments: Experiment[];
}

/** A state that cannot be resumed: what is wrong with it, and what to do. */
export class LearnStateError extends Error {
  override readonly name = 'LearnStateError';
  readonly code = 'ERR_KVM_LEARN_STATE';
}

const NEW_START = 'Start anew without it';

/** Text that tells hosts apart by what KVM_TDX_CAPABILITIES offers, whether the TSC and the maximum of vCPUs can be set. */
export function hostText(caps: TdxCapabilities, tscKhz: number, maxVcpusSettable: boolean): string {
  const rows = caps.cpuid.map(({ function: leaf, index, eax, ebx, ecx, edx }) =>
    [leaf, index, eax, ebx, ecx, edx].map((value) => value.toString(16)).join('.'),
  );
  const { supportedAttrs, supportedXfam } = caps;
  return [supportedAttrs.toString(16), supportedXfam.toString(16), tscKhz, maxVcpusSettable, ...rows].join(' ');
}

/** Takes a state from JSON. @throws LearnStateError saying where it is wrong. */
export function parseState(value: unknown): LearnState {
  const fail = (what: string): never => {
    throw new LearnStateError(`not a state of learning: ${what}. ${NEW_START}`);
  };
  if (typeof value !== 'object' || value === null) return fail('expected an object');
  const state = value as Partial<LearnState>;
  if (state.known !== 'experiments') fail(`known is ${JSON.stringify(state.known)}, expected "experiments"`);
  if (state.format !== 1) fail(`format is ${JSON.stringify(state.format)}, expected 1`);
  if (typeof state.host !== 'string') fail('host is missing');
  if (!Number.isInteger(state.seed)) fail('seed is missing');
  if (!Array.isArray(state.experiments)) return fail('experiments are missing');
  state.experiments.forEach((experiment: unknown, i) => {
    const { given, shown, refused } = (experiment ?? {}) as Partial<Experiment>;
    const outcomes = Number(typeof shown === 'object' && shown !== null) + Number(typeof refused === 'string');
    if (typeof given !== 'string' || outcomes !== 1) fail(`experiments[${i}] lacks what was given or what came of it`);
    for (const [place, text] of Object.entries(shown ?? {}))
      if (!/^[0-9a-f]{32}$/.test(text)) fail(`experiments[${i}].shown['${place}'] is not 32 hexadecimal digits`);
  });
  return value as LearnState;
}

/** @throws LearnStateError if the state is of another host or another seed. */
export function checkState(state: LearnState, host: string, seed: number): void {
  if (state.host !== host)
    throw new LearnStateError(
      `the state is of a host with other TDX capabilities. ${NEW_START}, or learn on that host`,
    );
  if (state.seed !== seed) throw new LearnStateError(`the state has seed ${state.seed}, not ${seed}. Give that seed`);
}
