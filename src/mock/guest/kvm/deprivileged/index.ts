/** Runs a guest's 64-bit code of CPL 0 at CPL 3, where KVM would emulate it: see {@link Deprivileged}. */
export { Deprivileged } from './deprivileged.js';
export { isFaithful } from './self-test.js';
