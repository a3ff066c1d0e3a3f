import { TDVMCALL } from '../../../kvm/constants.js';
import { getTdVmCallInfo } from './get-td-vm-call-info.js';
import type { Handled } from './handled.js';
import { mapGpa } from './map-gpa.js';
import { refuseCall } from './refuse-call.js';
import { reportFatalError } from './report-fatal-error.js';
import type { TdRun } from './td-run.js';
import { getQuote, setupEventNotifyInterrupt } from './user-calls.js';

const LEAVES: ReadonlyMap<bigint, (run: TdRun) => Handled> = new Map([
  [TDVMCALL.MAP_GPA, mapGpa],
  [TDVMCALL.REPORT_FATAL_ERROR, reportFatalError],
  [TDVMCALL.GET_TD_VM_CALL_INFO, getTdVmCallInfo],
  [TDVMCALL.GET_QUOTE, getQuote],
  [TDVMCALL.SETUP_EVENT_NOTIFY_INTERRUPT, setupEventNotifyInterrupt],
]);

/** handle_tdvmcall(): a TDG.VP.VMCALL that stands for no instruction. R11 is the leaf. */
export function handleTdVmCall(run: TdRun): Handled {
  const leaf = LEAVES.get(run.regs.r11);
  return leaf ? leaf(run) : refuseCall(run, 'kvm.tdvmcall.leaf');
}
