import { type Refusal, refusal } from './evaluate.js';
import type { Host } from './host.js';
import type { CompiledGuestField } from './rules.js';
import { setGuest } from './scope.js';

/** What writing a guest field depends on besides the value. */
export interface GuestFieldState {
  /** TDCS.CONFIG_FLAGS. */
  configFlags: bigint;
  tdCtls: bigint;
  /** TDCS.TOPOLOGY_ENUM_CONFIGURED. */
  topologyEnumConfigured: boolean;
}

/** What is stored when a guest writes `value` (masked already) into `field`, or the check of the document that fails. */
export function writeGuestField(
  host: Host,
  field: CompiledGuestField,
  state: GuestFieldState,
  value: bigint,
): { value: bigint } | Refusal {
  const { rules, scope } = host;
  const configFlags = rules.fields.findIndex(({ name }) => name === 'config_flags');
  scope.low[configFlags] = Number(state.configFlags & 0xffff_ffffn);
  scope.high[configFlags] = Number(state.configFlags >> 32n);
  setGuest(scope, 'td_ctls', state.tdCtls);
  setGuest(scope, 'topology_enum_configured', state.topologyEnumConfigured);
  setGuest(scope, 'written', value);
  const failed = field.checks.find((check) => !check.holds(scope));
  return failed ? refusal(failed, 0n) : { value: field.stored.wide(scope) };
}
