import { TDVMCALL, TDVMCALL_STATUS } from '../../../kvm/constants.js';
import type { Handled } from './handled.js';
import { refuseCall } from './refuse-call.js';
import type { TdRun } from './td-run.js';

const NOTHING = { r11: 0n, r12: 0n, r13: 0n, r14: 0n };

/** tdx_get_td_vm_call_info(): R12 0 is answered here, with nothing beyond the base calls; 1 is user space's. */
export function getTdVmCallInfo(run: TdRun): Handled {
  const { regs } = run;
  const leaf = regs.r12;
  if (leaf === 0n) {
    Object.assign(regs, NOTHING, { r10: TDVMCALL_STATUS.SUCCESS });
    return 'enter';
  }
  if (leaf !== 1n) return refuseCall(run, 'kvm.tdvmcall.info-leaf');
  return {
    exit: { reason: 'tdx', nr: TDVMCALL.GET_TD_VM_CALL_INFO, flags: 0n, call: 'get-td-vm-call-info', leaf },
    takes: { kind: 'td-vm-call-info' },
    complete: ({ ret = TDVMCALL_STATUS.SUCCESS, tdVmCallInfo = NOTHING }) => {
      Object.assign(regs, tdVmCallInfo, { r10: ret });
      return 'enter';
    },
  };
}
