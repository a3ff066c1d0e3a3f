import { KVM_CAP } from '../kvm/constants.js';
import { KvmError } from '../kvm/errors.js';
import type { KvmVm } from '../kvm/vm.js';
import { maxVcpusReason } from '../td/check/vcpus.js';
import { TdConfigError } from '../td/errors.js';
import { finding } from '../td/finding.js';

/** How many vCPUs a TD gets, and who says so. */
export interface MaxVcpus {
  /** vCPUs that may be created. */
  readonly limit: number;
  /** What the VM reports, and so TD_PARAMS.MAX_VCPUS. */
  readonly reported: number;
  /** The kernel took the number with KVM_ENABLE_CAP. */
  readonly set: boolean;
  /** One clause for people. */
  readonly reason: string;
}

const reportedBy = (vm: KvmVm): number => vm.checkExtension(KVM_CAP.MAX_VCPUS);

/** KVM_ENABLE_CAP(KVM_CAP_MAX_VCPUS). @returns the errno's name of a refusal. @throws KvmError for what is no refusal. */
function ask(vm: KvmVm, value: number): string | undefined {
  try {
    vm.enableCap(KVM_CAP.MAX_VCPUS, [BigInt(value)]);
    return undefined;
  } catch (error) {
    // EINVAL: the kernel knows no such capability on a VM, or not this value; E2BIG: more than the kernel or the module allows.
    if (error instanceof KvmError && (error.code === 'EINVAL' || error.code === 'E2BIG')) return error.code;
    throw error;
  }
}

function whyRefused(vm: KvmVm, wanted: number, before: number, code: string | undefined): string {
  if (code === undefined) return `the kernel took ${wanted} and reports ${reportedBy(vm)}`;
  const settable = code === 'E2BIG' || ask(vm, before) === undefined;
  return settable
    ? `this kernel lets a VM set it, but refuses ${wanted} (${code})`
    : maxVcpusReason({ maxVcpus: before });
}

/**
 * Settles the maximum of vCPUs of a TD's VM, before KVM_TDX_INIT_VM: what KVM_CHECK_EXTENSION(KVM_CAP_MAX_VCPUS) reports is
 * what KVM writes to TD_PARAMS.MAX_VCPUS. Where another number is wanted, KVM_ENABLE_CAP(KVM_CAP_MAX_VCPUS) is tried and the
 * answer of the VM checked; kernels that fix the number (Linux 6.16) keep theirs, and a lower one is then for the library to keep.
 * @param wanted undefined: whatever the kernel gives.
 * @throws TdConfigError (rule trap.max-vcpus-kernel) if more is wanted than the VM can have, with the limit and its reason.
 * @throws KvmError if the kernel fails for another reason, such as EBUSY after KVM_CREATE_VCPU.
 */
export function applyMaxVcpus(vm: KvmVm, wanted: number | undefined): MaxVcpus {
  const before = reportedBy(vm);
  if (wanted === undefined || wanted === before) {
    return { limit: before, reported: before, set: false, reason: `the kernel gives a TD ${before}` };
  }
  const code = ask(vm, wanted);
  const reported = reportedBy(vm);
  if (code === undefined && reported === wanted) {
    return { limit: wanted, reported, set: true, reason: `KVM_ENABLE_CAP(KVM_CAP_MAX_VCPUS) set ${wanted}` };
  }
  const reason = whyRefused(vm, wanted, before, code);
  if (wanted > reported) {
    const what = `maxVcpus is ${wanted}, more than the ${reported} that this TD may have: ${reason}`;
    const fix = `Ask for at most ${reported}`;
    throw new TdConfigError([finding('trap.max-vcpus-kernel', 'maxVcpus', 'error', what, { fix })]);
  }
  return {
    limit: wanted,
    reported,
    set: false,
    reason: `kept by this library, TD_PARAMS.MAX_VCPUS is ${reported}: ${reason}`,
  };
}
