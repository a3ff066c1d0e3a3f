import { TDX_STATUS } from '../../../kvm/status.js';
import { Refusal } from '../refusal.js';
import { isOperandBusy } from '../td-finalize.js';
import { emulateCpuid } from './cpuid.js';
import { handleEptViolation } from './ept-violation.js';
import { EXIT_REASON } from './exit-reason.js';
import type { Handled } from './handled.js';
import { emulateHypercall } from './hypercall.js';
import { emulateIo } from './io.js';
import { emulateMmio } from './mmio.js';
import { emulateRdmsr, emulateWrmsr } from './rdmsr-wrmsr.js';
import type { TdRun } from './td-run.js';
import { handleTdVmCall } from './tdvmcall.js';

const STATUS_MASK = 0xffff_ffff_0000_0000n;
const ERROR = 1n << 63n;
const NON_RECOVERABLE = 1n << 62n;
/** VM-entry failure, bit 31 of an exit reason. */
const FAILED_VMENTRY = 0x8000_0000;
const INVALID = 0xffff_ffff;

const KVM_EXIT_EXCEPTION = 1;
const SUBERROR_EMULATION = 1;
const SUBERROR_UNEXPECTED_EXIT_REASON = 4;
/** The model's guests run on one processor. */
const CPU = 0;

/** Statuses whose lower half is an exit reason. */
const WITH_EXIT_REASON: ReadonlySet<bigint> = new Set([
  TDX_STATUS.TDX_SUCCESS,
  TDX_STATUS.TDX_NON_RECOVERABLE_VCPU,
  TDX_STATUS.TDX_NON_RECOVERABLE_TD,
  TDX_STATUS.TDX_NON_RECOVERABLE_TD_NON_ACCESSIBLE,
  TDX_STATUS.TDX_NON_RECOVERABLE_TD_WRONG_APIC_MODE,
]);

/** Leaves of TDG.VP.VMCALL that are the exit reason of the instruction they stand for. */
const INSTRUCTIONS: ReadonlyMap<bigint, number> = new Map([
  [BigInt(EXIT_REASON.CPUID), EXIT_REASON.CPUID],
  [BigInt(EXIT_REASON.HLT), EXIT_REASON.HLT],
  [BigInt(EXIT_REASON.IO_INSTRUCTION), EXIT_REASON.IO_INSTRUCTION],
  [BigInt(EXIT_REASON.MSR_READ), EXIT_REASON.MSR_READ],
  [BigInt(EXIT_REASON.MSR_WRITE), EXIT_REASON.MSR_WRITE],
  [BigInt(EXIT_REASON.EPT_VIOLATION), EXIT_REASON.EPT_MISCONFIG],
]);

const HANDLERS: Readonly<Record<number, (run: TdRun) => Handled>> = {
  [EXIT_REASON.TRIPLE_FAULT]: () => ({ exit: { reason: 'shutdown' } }),
  [EXIT_REASON.EXCEPTION_NMI]: handleException,
  [EXIT_REASON.EXTERNAL_INTERRUPT]: () => 'enter',
  [EXIT_REASON.CPUID]: emulateCpuid,
  [EXIT_REASON.HLT]: (run) => run.halt(),
  [EXIT_REASON.TDCALL]: handleTdVmCall,
  [EXIT_REASON.VMCALL]: emulateHypercall,
  [EXIT_REASON.IO_INSTRUCTION]: emulateIo,
  [EXIT_REASON.MSR_READ]: emulateRdmsr,
  [EXIT_REASON.MSR_WRITE]: emulateWrmsr,
  [EXIT_REASON.EPT_MISCONFIG]: emulateMmio,
  [EXIT_REASON.EPT_VIOLATION]: handleEptViolation,
  [EXIT_REASON.OTHER_SMI]: () => 'enter',
};

/** tdx_to_vmx_exit_reason(): R10 tells hypercalls of KVM's own from the calls of TDX, R11 which call. */
function exitReasonOf({ vpEnterRet, regs }: TdRun): number {
  if (!WITH_EXIT_REASON.has(vpEnterRet & STATUS_MASK)) return INVALID;
  const reason = Number(vpEnterRet & 0xffff_ffffn);
  if (reason === EXIT_REASON.EPT_MISCONFIG) return INVALID;
  if (reason !== EXIT_REASON.TDCALL) return reason;
  return regs.r10 !== 0n ? EXIT_REASON.VMCALL : (INSTRUCTIONS.get(regs.r11) ?? EXIT_REASON.TDCALL);
}

/**
 * tdx_handle_exit(): what KVM does with what TDH.VP.ENTER left.
 * @param stuck why what executes the guest cannot go on; on a host that does not happen.
 */
export function handleExit(run: TdRun, stuck: string | undefined): Handled {
  if (stuck !== undefined)
    return { exit: { reason: 'internal-error', suberror: SUBERROR_EMULATION, data: [], detail: stuck } };
  const { vpEnterRet } = run;
  if (isOperandBusy(vpEnterRet)) return 'enter';
  if (vpEnterRet === BigInt(EXIT_REASON.EPT_MISCONFIG)) {
    run.td.vm.bugOn(true);
    throw new Refusal('kvm.run.ept-misconfig');
  }
  const reason = exitReasonOf(run);
  const basic = reason & 0xffff;
  run.exitReason = basic;
  if (reason !== INVALID && (reason & FAILED_VMENTRY) !== 0)
    return { exit: { reason: 'fail-entry', hardwareEntryFailureReason: BigInt(reason), cpu: CPU } };
  if ((vpEnterRet & (ERROR | NON_RECOVERABLE)) !== 0n && basic !== EXIT_REASON.TRIPLE_FAULT) return unhandled(run);
  return (HANDLERS[basic] ?? unhandled)(run);
}

const unhandled = ({ vpEnterRet }: TdRun): Handled => ({
  exit: { reason: 'internal-error', suberror: SUBERROR_UNEXPECTED_EXIT_REASON, data: [vpEnterRet, BigInt(CPU)] },
});

/** tdx_handle_exception_nmi(): NMIs (type 2) and machine checks (vector 18) are the host's; R9 is the interruption information. */
function handleException({ regs }: TdRun): Handled {
  const type = Number((regs.r9 >> 8n) & 7n);
  const vector = Number(regs.r9 & 0xffn);
  if (type === 2 || (type === 3 && vector === 18)) return 'enter';
  return { exit: { reason: 'unknown', exitReason: KVM_EXIT_EXCEPTION } };
}
