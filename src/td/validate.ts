import { checkInitVm, type Place, type Violation } from './check/index.js';
import { checkVcpus } from './check/vcpus.js';
import { checkConflicts, checkUnconfigurableZeros } from './check-config.js';
import type { Finding } from './finding.js';
import type { TdHostFacts } from './host-facts.js';
import { checkTdConfig } from './parse.js';
import { resolveTd } from './resolve.js';
import { type CpuidPlan, planCpuid } from './resolve-cpuid.js';
import type { TdConfig } from './schema.js';

/** The part of the configuration that a place comes from. */
function pathOf(at: Place, plan: CpuidPlan): string {
  if (at.field !== 'cpuid') return at.field;
  const paths = at.entry === undefined ? undefined : plan.paths[at.entry];
  return paths?.[at.register ?? 'entry'] ?? 'cpuid';
}

const toFinding = ({ at, ...said }: Violation, plan: CpuidPlan): Finding => ({ ...said, path: pathOf(at, plan) });

const order = { error: 0, warning: 1, note: 2 } as const;

/**
 * Holds a configuration against what an open system offers, before any TD exists: its form, every check of
 * KVM_TDX_INIT_VM and of TDH.MNG.INIT that it can violate, and the traps that the kernel lets through. The capabilities of
 * the system decide, not tables; what the host does not show is a warning or a note.
 * @returns everything that was found, errors first; a TD can be made of it if none is an error.
 */
export function validateTd(input: TdConfig, host: TdHostFacts): Finding[] {
  const { config, findings } = checkTdConfig(input);
  const td = resolveTd(config, host);
  const plan = planCpuid(config, td, host);
  const request = { ...td, cpuid: plan.entries, tscKhz: config.tscKhz ?? 0 };
  const violations = [...checkVcpus(td.vcpus, td.maxVcpus, host), ...checkInitVm(request, host)];
  const found = [
    ...findings,
    ...checkConflicts(config),
    ...violations.map((violation) => toFinding(violation, plan)),
    ...checkUnconfigurableZeros(config, host),
  ];
  return found.sort((one, other) => order[one.severity] - order[other.severity]);
}
