import { evaluateTd, loadTdParams } from '../../cpuid/index.js';
import type { RuleId } from '../../rulebook/index.js';
import type { ModuleBoot } from './boot.js';
import { ruleStatus } from './boot-status.js';
import { type TdConfiguration, tdConfigurationOf } from './td-params.js';

export { findVirtualCpuid, type TdConfiguration, type VirtualCpuid } from './td-params.js';

export const TD_PARAMS_SIZE = 1024;

export interface InitTdResult {
  status: bigint;
  /** 0, or the rejected CPUID_CONFIG entry: leaf | sub-leaf << 32, all ones where the sub-leaf is not significant. */
  rcx: bigint;
  /** The rulebook entry that refused. */
  rule?: RuleId;
  /** Present on success. */
  td?: TdConfiguration;
}

/**
 * What TDH.MNG.INIT makes of TD_PARAMS (1024 bytes) on a TD with `tdcxPages` TDCX pages: every check on them in the module's
 * order, and the configuration. The checks of TDR, page addresses and op-state are the caller's.
 */
export function initTd(module: ModuleBoot, tdParams: Uint8Array, tdcxPages: number): InitTdResult {
  if (tdParams.length !== TD_PARAMS_SIZE) {
    throw new RangeError(`TD_PARAMS: expected ${TD_PARAMS_SIZE} bytes, found ${tdParams.length}`);
  }
  loadTdParams(module.host, tdParams, tdcxPages);
  const refused = evaluateTd(module.host);
  if (refused) {
    const rule = refused.rule as RuleId;
    return { status: ruleStatus(rule, refused.details), rcx: refused.rcx, rule };
  }
  return { status: 0n, rcx: 0n, td: tdConfigurationOf(module.host, tdParams) };
}
