// TDG.VP.VMCALL<ReportFatalError>: the last words of a guest (Intel TDX GHCI).

import { GPRS } from '../../kvm/gprs.js';
import type { Gpr } from '../trace/registers.js';

export interface FatalError {
  /** Lower half of R12: TD-specific. */
  code: number;
  /** The message, without what follows its first zero byte. Bytes outside of printable ASCII are `\xNN`. */
  text: string;
  /** Shared page with more about it (R13), where bit 63 of R12 says that there is one. */
  gpa?: bigint;
  /** As KVM gave them (tdx.c tdx_report_fatal_error); RSP and RBP are 0. RAX is TDH.VP.ENTER's, not the guest's. */
  registers: Record<Gpr, bigint>;
}

/** Registers that hold the text, eight bytes each, in this order. */
const TEXT: readonly Gpr[] = ['r14', 'r15', 'rbx', 'rdi', 'rsi', 'r8', 'r9', 'rdx'];
const GPA_VALID = 1n << 63n;

/** @param data of the system event; registers that are missing are 0. */
export function decodeFatalError(data: readonly bigint[]): FatalError {
  const registers = Object.fromEntries(GPRS.map((name, i) => [name, data[i] ?? 0n])) as Record<Gpr, bigint>;
  // RCX is the mask of registers that the guest meant to hand over; the others are whatever they were.
  const given = (name: Gpr): boolean => ((registers.rcx >> BigInt(GPRS.indexOf(name))) & 1n) === 1n;
  const bytes = new Uint8Array(TEXT.length * 8);
  const view = new DataView(bytes.buffer);
  for (const [i, name] of TEXT.entries()) view.setBigUint64(i * 8, given(name) ? registers[name] : 0n, true);
  const fatal: FatalError = { code: Number(registers.r12 & 0xffff_ffffn), text: printable(bytes), registers };
  if (registers.r12 & GPA_VALID) fatal.gpa = registers.r13;
  return fatal;
}

function printable(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return Array.from(bytes.subarray(0, end < 0 ? bytes.length : end), (byte) =>
    byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`,
  ).join('');
}
