export { BIT_KINDS, type BitKind } from '../origin.js';
export { type BaselineHost, baselineCpuid, type CpuidBaseline, type HostLoss } from './baseline.js';
export { type MovedBits, movedBits, type Side } from './compare.js';
export { type CpuidDiff, type DiffSide, diffCpuid } from './diff.js';
export { type EvaluateOptions, evaluateCpuid } from './evaluate.js';
export {
  type BitValue,
  type CpuidBit,
  type CpuidEvaluation,
  type CpuidField,
  type CpuidRegisterView,
  fieldsOf,
  type RegisterBits,
} from './evaluation.js';
export { type Advice, type Explanation, explainCpuid } from './explain.js';
export {
  type CpuidHost,
  type CpuidHostOptions,
  cpuidHostOf,
  cpuidHostOfModule,
  findRules,
  type RulesSource,
} from './host.js';
export { type BitPlace, CpuidPlaceError, parsePlace, placeText } from './place.js';
export type { HostDifference } from './same.js';
export { type Solution, solveCpuid } from './solve.js';
export type { CpuidWishes } from './wishes.js';
