import type { Handled } from './handled.js';
import { refuseCall } from './refuse-call.js';
import { fromBytes, toBytes, toInt } from './registers.js';
import type { TdRun } from './td-run.js';

const EMPTY_BUS = 0xff;
const SIZES: readonly number[] = [1, 2, 4, 8];

/** tdx_emulate_mmio(): R12 bytes, R13 1 for a write, R14 the shared GPA, R15 what is written. */
export function emulateMmio(run: TdRun): Handled {
  const { r14, r15 } = run.regs;
  const { td } = run;
  const size = toInt(run.regs.r12);
  const write = toInt(run.regs.r13);
  if (!SIZES.includes(size) || (write !== 0 && write !== 1)) return refuseCall(run, 'kvm.tdvmcall.mmio-access');
  const last = BigInt.asUintN(64, r14 + BigInt(size - 1));
  if (td.isPrivate(r14) || td.isPrivate(last)) return refuseCall(run, 'kvm.tdvmcall.mmio-shared');
  const gpa = r14 & ~td.sharedBit;
  if (write) return { exit: { reason: 'mmio', gpa, isWrite: true, data: toBytes(r15, size) } };
  return {
    exit: { reason: 'mmio', gpa, isWrite: false, data: new Uint8Array(size) },
    takes: { kind: 'data', length: size },
    complete: ({ data }) => {
      run.regs.r11 = fromBytes(data ?? new Uint8Array(size).fill(EMPTY_BUS));
      return 'enter';
    },
  };
}
