export { CaptureError, type CaptureOptions, captureProfile } from './capture.js';
export { type Check, type CheckCategory, type CheckResult, type CheckStatus, type Outcome, runCheck } from './check.js';
export { generationOf, type KvmGeneration } from './checks/kvm.js';
export { machineReaders, type NativeAccess } from './machine-readers.js';
export { KERNEL_MESSAGES, type KernelMessage, recognise, type SeenMessage } from './messages.js';
export { modelReaders } from './model-readers.js';
export type { CpuidRegisters, HostReaders, Reading } from './readers.js';
export { CHECKS, checkHost, type HostReport } from './report.js';
export { thisMachine } from './this-machine.js';
