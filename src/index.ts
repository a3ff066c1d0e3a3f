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
export * from './measure/index.js';
export {
  type Fault,
  FaultError,
  listProfiles,
  loadProfile,
  MockHost,
  mockHostOf,
  mockMrtd,
  type Profile,
  type ProfileDocument,
  ProfileError,
} from './mock/index.js';
export { nativeStatus } from './native/index.js';
export { type OpenOptions, openKvm } from './open.js';
export { RULES, type Rule, type RuleId } from './rulebook/index.js';
export * from './td/index.js';
