import { KVM_CPUID_FLAG_SIGNIFCANT_INDEX } from '../../kvm/constants.js';
import { gpawOf } from '../cpuid-entries.js';
import { nativeMaxpa, type TdHostFacts } from '../host-facts.js';
import { type InitVmRequest, type Violation, violation } from './violation.js';

const at = { field: 'gpaw' } as const;

/** The GPAW that KVM reads from the entries, and what it needs: tdx.c setup_tdparams_eptp_controls. */
export function checkGpaw({ cpuid }: InitVmRequest, host: TdHostFacts): Violation[] {
  const entry = cpuid.find(
    ({ function: leaf, index, flags }) =>
      leaf === 0x8000_0008 && (index === 0 || (flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) === 0),
  );
  if (entry === undefined) {
    return [violation('kvm.init-vm.gpaw-leaf', 'error', { field: 'cpuid' }, 'no CPUID entry for leaf 0x80000008')];
  }
  const gpaw = gpawOf(entry.eax);
  if (gpaw !== 48 && gpaw !== 52) {
    return [violation('kvm.init-vm.gpaw-value', 'error', at, `CPUID(0x80000008).EAX[23:16] is ${gpaw}`)];
  }
  if (gpaw === 48) return [];
  if (host.fiveLevelEpt === false) {
    return [violation('kvm.init-vm.gpaw-5level', 'error', at, 'gpaw is 52, and this processor has 4-level EPT only')];
  }
  const maxpa = nativeMaxpa(host.supportedCpuid);
  if (maxpa !== undefined && maxpa < 49) {
    const what = `gpaw is 52, and physical addresses of this processor have ${maxpa} bits, which excludes 5-level EPT for TDs`;
    return [violation('module.mng-init.eptp-controls', 'error', at, what)];
  }
  if (host.fiveLevelEpt === true) return [];
  const what = 'gpaw is 52, and this kernel does not say whether the processor has 5-level EPT';
  return [violation('kvm.init-vm.gpaw-5level', 'warning', at, what)];
}
