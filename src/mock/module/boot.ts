import { type CompiledRules, Host } from '../../cpuid/index.js';
import { RULES, type RuleId } from '../../rulebook/index.js';
import type { Platform } from '../platform.js';
import { compareCpuid, sampleCpuid } from './boot-cpuid.js';
import { checkCmrs, checkSmrrs, configureTdmrs } from './boot-memory.js';
import { type BootRefusal, ruleStatus } from './boot-status.js';
import { type SysInfo, sysInfoOf } from './boot-sys-info.js';
import { keyIdMask } from './key-id-mask.js';

export { MODULE_STOPPED, ruleStatus } from './boot-status.js';

/** A start-up call that fails. */
export interface BootFailure {
  ok: false;
  call: 'TDH.SYS.INIT' | 'TDH.SYS.LP.INIT' | 'TDH.SYS.CONFIG';
  status: bigint;
  /** RCX where it is not 0: leaf | sub-leaf << 32 (all ones: no sub-leaf) of a CPUID value. */
  rcx?: bigint;
  /** The MSR that is wrong. */
  msr?: number;
  rule: string;
}

export type BootResult = { ok: true; module: ModuleBoot } | BootFailure;

/** A module that has started on a platform. */
export interface ModuleBoot {
  /** Module version, such as `1.5.06`. */
  readonly version: string;
  readonly rules: CompiledRules;
  readonly platform: Platform;
  /** Sampled CPUID, MSRs and derived values, for the evaluator. */
  readonly host: Host;
  /** CPUID(1).EAX with the lowest stepping of all packages. */
  readonly nativeFms: number;
  readonly tscHz: bigint;
  readonly maxPa: number;
  readonly keyIds: KeyIds;
  readonly sysInfo: SysInfo;
}

/** KeyIDs are the top bits of a physical address. */
export interface KeyIds {
  bits: number;
  /** Lowest bit of the KeyID in an address. */
  startBit: number;
  mask: bigint;
  /** Private KeyIDs, both included. */
  privateMin: number;
  privateMax: number;
  /** The module's own, given to TDH.SYS.CONFIG. */
  global: number;
}

const PROCEDURES = {
  'sample-cpuid': sampleCpuid,
  'compare-cpuid': compareCpuid,
  'check-cmrs': checkCmrs,
  'check-smrrs': checkSmrrs,
  'configure-tdmrs': configureTdmrs,
} as const satisfies Record<string, (host: Host, platform: Platform) => BootRefusal | undefined>;

/**
 * Starts the module that `rules` describe on `platform`: the checks of TDH.SYS.INIT, TDH.SYS.LP.INIT and TDH.SYS.CONFIG in
 * their order. One logical processor is modelled, so nothing can differ between processors.
 */
export function bootModule(rules: CompiledRules, platform: Platform): BootResult {
  const host = new Host(rules, platform);
  for (const { call, steps } of rules.boot) {
    for (const step of steps) {
      const refused =
        'run' in step
          ? PROCEDURES[step.run](host, platform)
          : step.check.holds(host.scope)
            ? undefined
            : { rule: step.check.rule as RuleId, details: step.check.details };
      if (refused) return failure(call as BootFailure['call'], refused);
    }
  }
  return { ok: true, module: started(host, platform) };
}

function failure(call: BootFailure['call'], { rule, details = 0, rcx = 0n }: BootRefusal): BootFailure {
  const result: BootFailure = { ok: false, call, status: ruleStatus(rule, details), rule };
  if (rcx !== 0n) result.rcx = rcx;
  if (RULES[rule].status === 'TDX_INCORRECT_MSR_VALUE') result.msr = details;
  return result;
}

function started(host: Host, platform: Platform): ModuleBoot {
  const value = (name: string): bigint => {
    const found = host.rules.host.find((v) => v.name === name);
    return found ? found.code.wide(host.scope) : 0n;
  };
  const bits = Number(value('HKID_BITS'));
  const startBit = Number(value('HKID_START_BIT'));
  return {
    version: host.rules.module,
    rules: host.rules,
    platform,
    host,
    nativeFms: Number(value('FMS')),
    tscHz: value('TSC_HZ'),
    maxPa: Number(value('MAXPA')),
    keyIds: {
      bits,
      startBit,
      mask: keyIdMask(startBit, bits),
      privateMin: Number(value('PRIVATE_HKID_MIN')),
      privateMax: Number(value('PRIVATE_HKID_MAX')),
      global: platform.sys.global_hkid,
    },
    sysInfo: sysInfoOf(host),
  };
}
