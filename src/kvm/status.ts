import { TDX_OPERANDS, TDX_STATUS, type TdxStatusName } from './status-codes.js';

export { TDX_OPERANDS, TDX_STATUS, type TdxStatusName };
export type TdxOperandName = keyof typeof TDX_OPERANDS;

/** A status of the TDX module, taken apart (tdx_api_defs.h, api_error_code layout). */
export interface TdxStatus {
  /** All 64 bits. */
  value: bigint;
  /** `TDX_OPERAND_INVALID`, or `unknown` where no published module has it. */
  name: TdxStatusName | 'unknown';
  /** Bit 63. */
  error: boolean;
  /** Bit 62: calling again with the same operands cannot help. */
  nonRecoverable: boolean;
  /** Bit 61. */
  fatal: boolean;
  /** Bits 47:40. */
  class: number;
  /** Lower 32 bits where they name an operand. */
  operand?: TdxOperandName;
  /** Lower 32 bits otherwise, such as an MSR index. */
  details?: number;
  /** `TDX_OPERAND_INVALID (0xc000010000000041), operand XFAM`. */
  text: string;
}

const nameOf = new Map(Object.entries(TDX_STATUS).map(([name, value]) => [value >> 32n, name as TdxStatusName]));
const operandOf = new Map(Object.entries(TDX_OPERANDS).map(([name, id]) => [id as number, name as TdxOperandName]));

// Statuses whose lower half is an operand id; in the others it is a detail (MSR index, x2APIC id, exit reason).
const withOperand = new Set<string>([
  'TDX_OPERAND_INVALID',
  'TDX_OPERAND_ADDR_RANGE_ERROR',
  'TDX_OPERAND_BUSY',
  'TDX_OPERAND_BUSY_HOST_PRIORITY',
  'TDX_HOST_PRIORITY_BUSY_TIMEOUT',
  'TDX_PAGE_METADATA_INCORRECT',
  'TDX_PAGE_NOT_OWNED_BY_TD',
  'TDX_PAGE_NOT_FREE',
  'TDX_EPT_WALK_FAILED',
  'TDX_EPT_ENTRY_FREE',
  'TDX_EPT_ENTRY_NOT_FREE',
  'TDX_EPT_ENTRY_NOT_PRESENT',
  'TDX_EPT_ENTRY_NOT_LEAF',
  'TDX_EPT_ENTRY_LEAF',
  'TDX_EPT_ENTRY_STATE_INCORRECT',
  'TDX_EPT_PAGE_NOT_FREE',
  'TDX_GPA_RANGE_NOT_BLOCKED',
  'TDX_METADATA_FIELD_ID_INCORRECT',
]);

/** Takes a 64-bit status of the TDX module apart. Total: any u64 has an answer. */
export function decodeTdxStatus(value: bigint): TdxStatus {
  const name = nameOf.get(value >> 32n) ?? 'unknown';
  const low = Number(value & 0xffff_ffffn);
  const operand = withOperand.has(name) ? operandOf.get(low) : undefined;
  const hex = `0x${value.toString(16).padStart(16, '0')}`;
  const status: TdxStatus = {
    value,
    name,
    error: ((value >> 63n) & 1n) === 1n,
    nonRecoverable: ((value >> 62n) & 1n) === 1n,
    fatal: ((value >> 61n) & 1n) === 1n,
    class: Number((value >> 40n) & 0xffn),
    text: `${name === 'unknown' ? 'unknown status' : name} (${hex})`,
  };
  if (operand !== undefined) {
    status.operand = operand;
    status.text += `, operand ${operand}`;
  } else if (low !== 0) {
    status.details = low;
    status.text += `, details 0x${low.toString(16)}`;
  }
  return status;
}

/** The status `name` with `low` in its lower 32 bits. */
export const tdxStatus = (name: TdxStatusName, low: number = 0): bigint => TDX_STATUS[name] | BigInt(low);
