import { KvmError, KvmStateError } from '../kvm/errors.js';
import type { Addon, BuildStateError, BuildSysError } from './addon.js';

/** What to do about a refusal that has one usual cause, by request and errno. */
const hints: Record<string, string> = {
  'KVM device ENOENT':
    'load the kvm and kvm_intel modules (modprobe kvm_intel tdx=1), and enable virtualisation in the firmware or, in a virtual machine, nested virtualisation',
  'KVM device EACCES':
    'add your user to the group of the device (usermod -aG kvm "$USER", then log in again) or run as root',
  'KVM device ENODEV': 'the kernel has the device but no hypervisor behind it: load kvm_intel',
  'KVM_CREATE_VM EINVAL': 'the type is not in KVM_CAP_VM_TYPES of this kernel; for a TD (type 5) kvm_intel needs tdx=1',
};

const buildSysError: BuildSysError = (errno, syscall, request, hwError, pagesDone, path) => {
  const error = { errno, syscall, request, hwError, ...(pagesDone !== undefined && { pagesDone }) };
  const plain = new KvmError({ ...error, ...(path !== undefined && { path }) });
  const hint = hints[`${request} ${plain.code}`];
  return hint === undefined ? plain : new KvmError({ ...error, ...(path !== undefined && { path }), hint });
};

const buildStateError: BuildStateError = (code, message) => new KvmStateError(code as KvmStateError['code'], message);

const onUnclosed = (kind: string): void =>
  process.emitWarning(
    `A ${kind} of the native backend was garbage collected without close(); it was closed then. ` +
      'Call close() or declare it with `using`: descriptors and threads are not returned in time otherwise. ' +
      'Further ones are not reported.',
    { type: 'KvmWarning', code: 'KVM_WARN_GC_CLOSE' },
  );

/** Teaches a freshly loaded addon our errors. */
export const setUp = (addon: Addon): void => addon.setUp(buildSysError, buildStateError, onUnclosed);
