import type { Host } from './host.js';

/** Names of guest state in expressions, by whether they are at most 32 bits wide. */
export const GUEST_STATE = [
  { name: 'cr4', narrow: true },
  { name: 'xcr0', narrow: true },
  { name: 'xss', narrow: true },
  { name: 'td_ctls', narrow: false },
  { name: 'feature_paravirt_ctls', narrow: false },
  { name: 'vcpu_index', narrow: true },
  { name: 'x2apic_id', narrow: true },
  { name: 'tsx_cpuid_clear', narrow: true },
  { name: 'long_mode', narrow: true },
  /** ECX of the CPUID that is executed. */
  { name: 'subleaf', narrow: true },
  /** TDCS.TOPOLOGY_ENUM_CONFIGURED: every vCPU was given an x2APIC id. */
  { name: 'topology_enum_configured', narrow: true },
  /** What TDG.VM.WR would leave in the field. */
  { name: 'written', narrow: false },
] as const;

export type GuestStateName = (typeof GUEST_STATE)[number]['name'];

/** What expressions see. One scope serves all evaluations of a host: filled, used and filled again. */
export interface Scope {
  host: Host;
  /** Fields of TD_PARAMS by slot, in halves. */
  low: Uint32Array;
  high: Uint32Array;
  /** CPUID registers by entry: what the TD gets, and what CPUID_CONFIG asks for. */
  virtual: Uint32Array;
  config: Uint32Array;
  /** State of the guest by position in GUEST_STATE, in halves. */
  guest: Halves;
  /** TD_PARAMS as bytes. */
  params: Uint8Array;
}

/** 64-bit values as pairs of numbers. */
export interface Halves {
  low: Uint32Array;
  high: Uint32Array;
}

const SLOTS = new Map<GuestStateName, number>(GUEST_STATE.map(({ name }, slot) => [name, slot]));

/** Sets a value of the guest; flags are 0 and 1. */
export function setGuest(scope: Scope, name: GuestStateName, value: bigint | number | boolean): void {
  const slot = SLOTS.get(name)!;
  if (typeof value === 'bigint') {
    scope.guest.low[slot] = Number(value & 0xffff_ffffn);
    scope.guest.high[slot] = Number((value >> 32n) & 0xffff_ffffn);
  } else {
    scope.guest.low[slot] = Number(value);
    scope.guest.high[slot] = 0;
  }
}
