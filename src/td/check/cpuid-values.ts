import { TD_ATTRIBUTES } from '../attributes.js';
import { maskOf } from '../bits.js';
import { entryAt, fieldOf } from '../cpuid-entries.js';
import type { TdHostFacts } from '../host-facts.js';
import { filledLeaves } from './cpuid.js';
import { type InitVmRequest, type Place, type Violation, violation } from './violation.js';

const HLE = 1 << 4;
const RTM = 1 << 11;
const hex = (value: number) => `0x${value.toString(16)}`;

/** Leaf (or sub-leaf 0 of it) as the module gets it. */
const leafOf = ({ cpuid }: InitVmRequest, host: TdHostFacts, leaf: number) =>
  entryAt(filledLeaves(cpuid, host), leaf, 0);

/** CPUID(1).EAX, the family, model and stepping. */
export function checkFms(request: InitVmRequest, host: TdHostFacts): Violation[] {
  const leaf = leafOf(request, host, 1);
  if (leaf === undefined || leaf.eax === 0) return [];
  const at: Place = { field: 'cpuid', entry: leaf.position, register: 'eax' };
  const platform = entryAt(host.supportedCpuid, 1, 0)?.eax;
  const given = `CPUID(0x1).EAX is ${hex(leaf.eax)}`;
  const say = (severity: 'error' | 'warning', what: string) => [violation('module.mng-init.fms', severity, at, what)];
  if (platform === undefined) return say('warning', `${given}, and KVM does not say what the platform has`);
  if (leaf.eax === platform) return [];
  const what = `${given}, and this processor has ${hex(platform)}`;
  if ((request.attributes & maskOf(TD_ATTRIBUTES.MIGRATABLE)) !== 0n) {
    return say('warning', `${what}; whether the module knows it as an older platform cannot be seen from here`);
  }
  // The platform's stepping is the lowest of all packages; KVM reports the one of the processor it runs on.
  if (leaf.eax >>> 4 === platform >>> 4 && leaf.eax < platform) {
    return say('warning', `${what}; it passes only where another package has the lower stepping`);
  }
  return say('error', what);
}

/** HLE and RTM in CPUID(7,0).EBX; KVM's denial of either is a matter of the masks. */
export function checkTsx(request: InitVmRequest, host: TdHostFacts): Violation[] {
  const leaf = leafOf(request, host, 7);
  const set = (leaf?.ebx ?? 0) & (HLE | RTM);
  if (leaf === undefined || set === 0) return [];
  const at: Place = { field: 'cpuid', entry: leaf.position, register: 'ebx' };
  if (set !== (HLE | RTM)) {
    // The module compares what is left after it dropped the bits that the processor lacks.
    const native = (entryAt(host.supportedCpuid, 7, 0)?.ebx ?? 0) & set;
    const what = set === HLE ? 'HLE is set and RTM is not' : 'RTM is set and HLE is not';
    return [violation('module.mng-init.hle-rtm', native === 0 ? 'warning' : 'error', at, what)];
  }
  // What KVM refuses never gets that far; an entry that stands for every sub-leaf may slip past it.
  const offered = (entryAt(host.capabilities.cpuid, 7, 0)?.ebx ?? 0) & set;
  if (offered !== set && leaf.givenIndex === 0) return [];
  const what = 'HLE and RTM are set, and whether IA32_ARCH_CAPABILITIES has TSX_CTRL cannot be seen from here';
  return [violation('module.mng-init.tsx-ctrl', 'warning', at, what)];
}

/** CPUID(0x80000008).EAX[7:0]: modules since 1.5.06 take it, and ignore it since KVM does not set CONFIG_FLAGS.MAXPA_VIRT. */
export function checkMaxpa(request: InitVmRequest, host: TdHostFacts): Violation[] {
  const leaf = leafOf(request, host, 0x8000_0008);
  const given = fieldOf(leaf?.eax ?? 0, 7, 0);
  const offered = fieldOf(entryAt(host.capabilities.cpuid, 0x8000_0008, 0)?.eax ?? 0, 7, 0);
  if (leaf === undefined || given === 0 || (given & ~offered) !== 0) return [];
  const at: Place = { field: 'cpuid', entry: leaf.position, register: 'eax' };
  const what = `MAXPA (CPUID(0x80000008).EAX[7:0]) is ${given}; the TD gets the processor's all the same`;
  const why = 'The module looks at it only with CONFIG_FLAGS.MAXPA_VIRT, which KVM does not set (Linux 6.16)';
  return [violation('module.mng-init.maxpa', 'note', at, what, { why, fix: 'Leave it out' })];
}
