import { type Check, type CheckResult, runCheck } from './check.js';
import { FIRMWARE_CHECKS } from './checks/firmware.js';
import { KERNEL_CHECKS } from './checks/kernel.js';
import { KVM_CHECKS } from './checks/kvm.js';
import { MACHINE_CHECKS } from './checks/machine.js';
import type { HostReaders } from './readers.js';

/** Every check, from the machine and its firmware up to KVM: the first failure is usually the cause of the rest. */
export const CHECKS: readonly Check[] = [...MACHINE_CHECKS, ...FIRMWARE_CHECKS, ...KERNEL_CHECKS, ...KVM_CHECKS];

export interface HostReport {
  /** What was looked at. */
  subject: string;
  /** Profile name when it was a model. */
  profile?: string;
  /** Whether a TD can be created: KVM_TDX_CAPABILITIES answered. */
  ready: boolean;
  checks: CheckResult[];
  /** The failure to begin with. */
  firstFailure?: CheckResult;
}

/**
 * Asks every check. What KVM answers decides: a host whose KVM_TDX_CAPABILITIES works is ready, and what the other checks
 * then miss is reported as a warning.
 */
export function checkHost(readers: HostReaders): HostReport {
  const checks = CHECKS.map((check) => runCheck(check, readers));
  const ready = checks.some(({ id, status }) => id === 'kvm.capabilities' && status === 'pass');
  if (ready) for (const check of checks) if (check.status === 'fail') check.status = 'warn';
  const firstFailure = checks.find(({ status }) => status === 'fail');
  return {
    subject: readers.subject,
    ...(readers.profile !== undefined && { profile: readers.profile }),
    ready,
    checks,
    ...(firstFailure && { firstFailure }),
  };
}
