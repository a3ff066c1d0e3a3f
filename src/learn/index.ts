export { type Contradiction, compareLearnt, ruleText } from './compare.js';
export type {
  LearntDocument,
  LearntEntry,
  LearntExclusion,
  LearntGroup,
  LearntKind,
  LearntRule,
  LearntSettings,
} from './document.js';
export { FORMULAS, type FormulaName } from './formulas.js';
export { type LearnOptions, type LearnProgress, type LearnResult, learnCpuid } from './learn.js';
export { type LearntConfiguration, LearntModel, type LearntRow } from './model.js';
export { type LearnState, LearnStateError } from './state.js';
export { countKinds } from './summary.js';
