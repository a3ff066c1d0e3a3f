export { BIT_KINDS, type BitKind } from '../origin.js';
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
export {
  type CpuidHost,
  type CpuidHostOptions,
  cpuidHostOf,
  cpuidHostOfModule,
  findRules,
  type RulesSource,
} from './host.js';
