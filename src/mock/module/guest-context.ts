import type { EngineVcpu } from '../guest/engine.js';
import type { GuestCall } from './guest-call.js';
import type { GuestTd } from './guest-td.js';
import type { GuestTrace } from './guest-trace.js';
import type { ModuleState } from './module-state.js';
import type { Td } from './td.js';

/** An entered VCPU with all that the module needs to answer its guest. */
export interface Guest extends GuestCall {
  readonly state: ModuleState;
  readonly td: Td;
  readonly memory: GuestTd;
  readonly cpu: EngineVcpu;
  readonly trace: ((trace: GuestTrace) => void) | undefined;
}
