import type { ExitReply } from '../../../kvm/exits.js';
import { MSR_FILTER } from '../msr-filter.js';
import type { Handled, UserExit } from './handled.js';
import { refuseCall } from './refuse-call.js';
import type { TdRun } from './td-run.js';

/** KVM_MSR_EXIT_REASON_*: why KVM does not do it itself. */
const WHY = { INVALID: 1, FILTER: 4 } as const;
type Why = (typeof WHY)[keyof typeof WHY];

const indexOf = ({ regs }: TdRun): number => Number(regs.r12 & 0xffff_ffffn);

/** kvm_emulate_rdmsr(): R12 the MSR; its value goes to R11. */
export function emulateRdmsr(run: TdRun): Handled {
  const index = indexOf(run);
  const answer = (value: bigint): Handled => {
    run.regs.r11 = value;
    return 'enter';
  };
  const filtered = run.td.vm.msrFilter?.allows(index, MSR_FILTER.READ) === false;
  const value = filtered ? undefined : run.msrs.read(index, 'guest');
  if (value !== undefined) return answer(value);
  const why = filtered ? WHY.FILTER : WHY.INVALID;
  return refuseMsr(run, why, { reason: 'x86-rdmsr', index, why }, (msr) => answer(msr.data ?? 0n));
}

/** kvm_emulate_wrmsr(): R12 the MSR, R13 the value. */
export function emulateWrmsr(run: TdRun): Handled {
  const index = indexOf(run);
  const { r13: data } = run.regs;
  const filtered = run.td.vm.msrFilter?.allows(index, MSR_FILTER.WRITE) === false;
  if (!filtered && run.msrs.write(index, data, 'guest')) return 'enter';
  const why = filtered ? WHY.FILTER : WHY.INVALID;
  return refuseMsr(run, why, { reason: 'x86-wrmsr', index, why, data }, () => 'enter');
}

/** kvm_msr_user_space(): user space is asked if it wanted to be; without an answer the guest is refused. */
function refuseMsr(
  run: TdRun,
  why: Why,
  exit: UserExit['exit'],
  complete: (msr: NonNullable<ExitReply['msr']>) => Handled,
): Handled {
  if ((run.td.vm.userSpaceMsrs & BigInt(why)) === 0n) return refuseCall(run, 'kvm.tdvmcall.msr');
  return {
    exit,
    takes: { kind: 'msr' },
    complete: ({ msr }) => (!msr || msr.error ? refuseCall(run, 'kvm.tdvmcall.msr') : complete(msr)),
  };
}
