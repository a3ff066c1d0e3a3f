export * from './constants.js';
export type * from './cpuid.js';
export * from './errors.js';
export type * from './exits.js';
export type * from './memory.js';
export {
  decodeTdxStatus,
  TDX_OPERANDS,
  TDX_STATUS,
  type TdxOperandName,
  type TdxStatus,
  type TdxStatusName,
  tdxStatus,
} from './status.js';
export type * from './system.js';
export type * from './vcpu.js';
export type * from './vm.js';
