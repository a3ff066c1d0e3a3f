import type { Host } from './host.js';

/** Names of guest state in expressions: lower halves of registers, numbers, and flags. */
export const GUEST_STATE = [
  'cr4',
  'xcr0',
  'xss',
  'td_ctls',
  'vcpu_index',
  'x2apic_id',
  'tsx_cpuid_clear',
  'long_mode',
] as const;

/** What expressions see. One scope serves all evaluations of a host: filled, used and filled again. */
export interface Scope {
  host: Host;
  /** Fields of TD_PARAMS by slot, in halves. */
  low: Uint32Array;
  high: Uint32Array;
  /** CPUID registers by entry: what the TD gets, and what CPUID_CONFIG asks for. */
  virtual: Uint32Array;
  config: Uint32Array;
  /** State of the guest that executes CPUID, by position in GUEST_STATE. */
  guest: Uint32Array;
  /** TD_PARAMS as bytes. */
  params: Uint8Array;
}
