import type { Host } from './host.js';

/** What expressions see. One scope serves all evaluations of a host: filled, used and filled again. */
export interface Scope {
  host: Host;
  /** Fields of TD_PARAMS by slot, in halves. */
  low: Uint32Array;
  high: Uint32Array;
  /** CPUID registers by entry: what the TD gets, and what CPUID_CONFIG asks for. */
  virtual: Uint32Array;
  config: Uint32Array;
  /** TD_PARAMS as bytes. */
  params: Uint8Array;
}
