import type { ModuleBoot } from './boot.js';
import type { ModuleFacts } from './facts.js';
import { Kot } from './kot.js';
import type { InitTdResult } from './mng-init.js';
import { Pamt } from './pamt.js';
import type { HostMemory } from './seamcall.js';
import type { Td, Vcpu } from './td.js';

/** Checks a TD_PARAMS of 1024 bytes for a TD with that many TDCX pages. */
export type InitTd = (tdParams: Uint8Array, tdcxPages: number) => InitTdResult;

/** Everything the module keeps between SEAMCALLs. */
export interface ModuleState {
  readonly boot: ModuleBoot;
  readonly facts: ModuleFacts;
  readonly memory: HostMemory;
  readonly initTd: InitTd;
  readonly pamt: Pamt;
  readonly kot: Kot;
  /** By address of the TDR. */
  readonly tds: Map<number, Td>;
  /** By address of the TDVPR. */
  readonly vcpus: Map<number, Vcpu>;
  /** The native time-stamp counter. */
  readonly tsc: () => bigint;
  /** REPORTMACSTRUCTs that TDG.MR.REPORT made, oldest first. */
  readonly reports: Set<string>;
  /** An internal check failed: the module shut TDX down and never answers again. */
  stopped: boolean;
}

export const newModuleState = (
  parts: Pick<ModuleState, 'boot' | 'facts' | 'memory' | 'initTd' | 'tsc'>,
): ModuleState => ({
  ...parts,
  pamt: new Pamt(parts.facts),
  kot: new Kot(parts.facts),
  tds: new Map(),
  vcpus: new Map(),
  reports: new Set(),
  stopped: false,
});
