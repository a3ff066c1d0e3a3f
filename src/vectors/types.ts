import type { Platform } from '../mock/platform.js';

/** What a vector needs besides itself. */
export interface VectorEnv {
  /** A platform by the name a case gives. @throws Error that names the known ones. */
  platform(name: string): Platform;
  /** Version of the TDX module that computed the results, such as `1.5.06`. */
  moduleVersion: string;
}

export type CaseResult =
  | { ok: true }
  /** What differs first, for people. */
  | { ok: false; difference: string }
  /** Why the case does not apply here; a rule of its format, never its id. */
  | { skip: string };

// A case is whatever one line of a vectors file holds; its runner knows the shape.
// biome-ignore lint/suspicious/noExplicitAny: each runner has its own shape of case
export type VectorRunner = (testCase: any, env: VectorEnv) => CaseResult;
