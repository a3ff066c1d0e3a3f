import type { Handled } from './handled.js';
import { refuseCall } from './refuse-call.js';
import type { TdRun } from './td-run.js';

const KVM_EXIT_X86_RDMSR = 29;
const KVM_EXIT_X86_WRMSR = 30;
/** KVM_MSR_EXIT_REASON_INVAL of KVM_CAP_X86_USER_SPACE_MSR. */
const EXIT_ON_INVALID = 1n;

const indexOf = ({ regs }: TdRun): number => Number(regs.r12 & 0xffff_ffffn);

/** kvm_emulate_rdmsr(): R12 the MSR; its value goes to R11. */
export function emulateRdmsr(run: TdRun): Handled {
  const answer = (value: bigint): Handled => {
    run.regs.r11 = value;
    return 'enter';
  };
  const value = run.msrs.read(indexOf(run));
  return value === undefined ? refuseMsr(run, KVM_EXIT_X86_RDMSR, () => answer(0n)) : answer(value);
}

/** kvm_emulate_wrmsr(): R12 the MSR, R13 the value. */
export function emulateWrmsr(run: TdRun): Handled {
  if (run.msrs.write(indexOf(run), run.regs.r13)) return 'enter';
  return refuseMsr(run, KVM_EXIT_X86_WRMSR, () => 'enter');
}

/** kvm_msr_user_space(): user space is asked if it wanted to be. The seam has no reply for it: no error, value 0. */
function refuseMsr(run: TdRun, exitReason: number, complete: () => Handled): Handled {
  if ((run.td.vm.userSpaceMsrs & EXIT_ON_INVALID) === 0n) return refuseCall(run, 'kvm.tdvmcall.msr');
  return { exit: { reason: 'unknown', exitReason }, complete };
}
