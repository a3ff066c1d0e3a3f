export type { CpuidRegister } from '../cpuid/names.js';
export type { CpuidDifference } from './cpuid-differences.js';
export { compareCpuid } from './cpuid-differences.js';
export { TdLaunchError } from './errors.js';
export type { LaunchStep } from './steps.js';
export { type LaunchOptions, TrustDomain } from './trust-domain.js';
