import type { TdHostFacts } from '../host-facts.js';
import { checkAttributes } from './attributes.js';
import { checkLeaves, checkMasks } from './cpuid.js';
import { checkFms, checkMaxpa, checkTsx } from './cpuid-values.js';
import { checkGpaw } from './gpaw.js';
import { checkTopology } from './topology.js';
import { checkTsc } from './tsc.js';
import type { InitVmRequest, Violation } from './violation.js';
import { checkXfam } from './xfam.js';

export type { InitVmRequest, Place, Violation } from './violation.js';

// In the order in which KVM and then the module come to them.
const CHECKS = [
  checkAttributes,
  checkXfam,
  checkGpaw,
  checkLeaves,
  checkTsc,
  checkMasks,
  checkFms,
  checkTsx,
  checkMaxpa,
  checkTopology,
];

/** Everything to say about a request of KVM_TDX_INIT_VM on this host. */
export const checkInitVm = (request: InitVmRequest, host: TdHostFacts): Violation[] =>
  CHECKS.flatMap((check) => check(request, host));
