import type { Platform } from '../mock/platform.js';

/** `ok`, the first difference, or why a case does not apply. */
export type VectorResult = { ok: true } | { ok: false; difference: string } | { skip: string };

/** What a case runs on. */
export interface VectorEnvironment {
  platform(name: string): Platform;
  /** Such as `1.5.06`. */
  moduleVersion: string;
}
