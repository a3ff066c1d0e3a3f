import { KVM_CAP, KVM_X86_TDX_VM } from '../../src/kvm/index.js';
import { nativeStatus, openNative } from '../../src/native/index.js';
import type { Backend } from './backend.js';

const status = nativeStatus();
if (!status.available) console.log(`native backend: tests are skipped, ${status.reason}`);

function hasTdx(): boolean {
  if (!status.available) return false;
  using system = openNative();
  return (system.checkExtension(KVM_CAP.VM_TYPES) & (1 << KVM_X86_TDX_VM)) !== 0;
}

/** The kernel of this machine. */
export const nativeBackend: Backend = {
  name: 'native',
  open: () => openNative(),
  unavailable: status.available ? undefined : status.reason,
  runsGuests: true,
  runsTds: hasTdx(),
};
