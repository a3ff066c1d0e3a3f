import { KvmError } from '../kvm/index.js';
import type { InitVmDiagnosis } from './diagnose.js';
import { TdLaunchError } from './errors.js';

type Diagnose = (error: KvmError) => InitVmDiagnosis;

/** One step of a launch, reported when it is done (or, with `progress`, while it goes on). */
export interface LaunchStep {
  /** For people: `Initialise the TD`. */
  name: string;
  /** The request it consists of, such as `KVM_TDX_INIT_VM`. */
  request: string;
  /** What was set or found. */
  detail?: string;
  /** Milliseconds since the step began. */
  durationMs: number;
  /** Work done so far, for steps that take long; `done` equals `total` in the last report. */
  progress?: { done: number; total: number; unit: 'pages' };
}

/** Times the steps of a launch, tells the caller's listener, and names the step in what is thrown. */
export class StepRecorder {
  readonly #listener: ((step: LaunchStep) => void) | undefined;
  readonly #signal: AbortSignal | undefined;

  constructor(listener?: (step: LaunchStep) => void, signal?: AbortSignal) {
    this.#listener = listener;
    this.#signal = signal;
  }

  /** Runs one step. `diagnose` finds out what a refusal means. `describe` makes the detail from the result. */
  run<T>(
    name: string,
    request: string,
    body: () => T,
    { describe, diagnose }: { describe?: (result: T) => string; diagnose?: Diagnose } = {},
  ): T {
    this.#signal?.throwIfAborted();
    const start = performance.now();
    try {
      const result = body();
      const durationMs = performance.now() - start;
      this.#listener?.({ name, request, durationMs, ...(describe && { detail: describe(result) }) });
      return result;
    } catch (error) {
      throw named(name, error, diagnose);
    }
  }

  /** Runs a long step in pieces and lets the event loop turn between them, so that an abort is heard. */
  async runPieces(name: string, request: string, total: number, pieces: Iterable<number>): Promise<void> {
    const start = performance.now();
    let done = 0;
    try {
      for (const pages of pieces) {
        done += pages;
        const progress = { done, total, unit: 'pages' } as const;
        this.#listener?.({ name, request, durationMs: performance.now() - start, progress });
        await new Promise<void>((resolve) => setImmediate(resolve));
        this.#signal?.throwIfAborted();
      }
    } catch (error) {
      throw named(name, error);
    }
  }
}

const named = (step: string, error: unknown, diagnose?: Diagnose): unknown =>
  error instanceof KvmError ? new TdLaunchError(step, error, diagnose?.(error)) : error;
