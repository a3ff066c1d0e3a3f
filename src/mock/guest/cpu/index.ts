/** The processor in software that both engines share: registers, paging, delivery of exceptions. */
export { deliverException, raise, type SoftwareInterrupt } from './exceptions.js';
export { EptViolation, GuestFault, Stuck, TripleFault } from './fault.js';
export { kvmRegsOf, kvmSregsOf, stateOfKvm, takeKvmState } from './kvm-state.js';
export { readLinear, writeLinear } from './linear-memory.js';
export { isCanonical, type Mapping, mappingOf, translate } from './paging.js';
export { type LivePage, livePage, type PhysicalMemory } from './physical-memory.js';
export { CpuState, initialState, signed, unsigned } from './state.js';
