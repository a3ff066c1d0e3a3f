import type { TdHostFacts } from '../host-facts.js';
import { type Violation, violation } from './violation.js';

/** MAX_VCPUS_PER_TD of the module since 1.5.05; KVM keeps the number to itself. */
const MODULE_MAX_VCPUS = 576;

export const maxVcpusReason = ({ maxVcpus }: Pick<TdHostFacts, 'maxVcpus'>): string =>
  `this kernel fixes it at ${maxVcpus} for every TD, the smaller of KVM's limit and the present processors`;

/** vCPUs of the TD against the limit of its VM. `maxVcpus` undefined: nobody asked. */
export function checkVcpus(vcpus: number, maxVcpus: number | undefined, host: TdHostFacts): Violation[] {
  const found: Violation[] = [];
  const at = { field: maxVcpus === undefined ? 'vcpus' : 'maxVcpus' } as const;
  const wanted = maxVcpus ?? vcpus;
  if (maxVcpus !== undefined && vcpus > maxVcpus) {
    const what = `vcpus is ${vcpus}, and maxVcpus is ${maxVcpus}`;
    found.push(violation('config.vcpus-above-max', 'error', { field: 'vcpus' }, what));
  }
  const limit = host.maxVcpusSettable ? Math.max(host.systemMaxVcpus, host.maxVcpus) : host.maxVcpus;
  if (wanted > limit) {
    const reason = host.maxVcpusSettable ? `KVM's limit is ${limit}` : maxVcpusReason(host);
    const what = `${at.field} is ${wanted}, more than the ${limit} that a TD on this host may have: ${reason}`;
    found.push(violation('trap.max-vcpus-kernel', 'error', at, what, { fix: `Ask for at most ${limit}` }));
  } else if (maxVcpus !== undefined && maxVcpus < limit && !host.maxVcpusSettable) {
    const what =
      `maxVcpus is ${maxVcpus}, and TD_PARAMS.MAX_VCPUS will hold ${limit}: ${maxVcpusReason(host)}; ` +
      `this library creates no more than ${maxVcpus}`;
    found.push(violation('trap.max-vcpus-kernel', 'warning', at, what, { fix: `Leave it out, or ask for ${limit}` }));
  }
  if (wanted <= limit && wanted > MODULE_MAX_VCPUS) {
    const what = `${at.field} is ${wanted}, and modules since 1.5.05 allow ${MODULE_MAX_VCPUS}`;
    found.push(violation('module.mng-init.max-vcpus', 'warning', at, what));
  }
  return found;
}
