// The public API. What is not exported here is private.
export {
  bundledVersions,
  type CompiledRules,
  compileRules,
  type HostFacts,
  loadRules,
  type RulesDocument,
  RulesError,
} from './cpuid/index.js';
export { CPUID_FEATURES, type CpuidFeature, findFeature } from './cpuid/names.js';
export * from './cpuid/questions/index.js';
export * from './image/index.js';
export * from './kvm/index.js';
export * from './launch/index.js';
export * from './learn/index.js';
export * from './measure/index.js';
export {
  type CpuidEntryDocument,
  type EngineKind,
  type Fault,
  FaultError,
  type Faults,
  type GuestTrace,
  listProfiles,
  loadProfile,
  MockHost,
  type MockHostOptions,
  type MockHostStats,
  mockHostOf,
  mockMrtd,
  type Profile,
  type ProfileDocument,
  ProfileError,
  type ProfileKernel,
  type SeamcallArgs,
  type SeamcallResult,
  type SeamcallTrace,
} from './mock/index.js';
export type { Platform, PlatformCpuidRow, PlatformSys } from './mock/platform.js';
export { type NativeOptions, type NativeStatus, nativeStatus } from './native/index.js';
export { type OpenOptions, openKvm } from './open.js';
export { RULES, type Rule, type RuleId } from './rulebook/index.js';
export * from './td/index.js';
export * from './wire/index.js';
