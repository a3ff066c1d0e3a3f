export { MrtdHasher } from './hasher.js';
export { type MeasureOptions, type MeasureOrder, type MeasureStep, measureTd, type TdMeasurement } from './mrtd.js';
