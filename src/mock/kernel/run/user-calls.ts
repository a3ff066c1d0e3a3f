import { TDVMCALL, TDVMCALL_STATUS } from '../../../kvm/constants.js';
import type { ExitReply, TdxExit } from '../../../kvm/exits.js';
import type { Handled } from './handled.js';
import { refuseCall } from './refuse-call.js';
import type { TdRun } from './td-run.js';

/** tdx_complete_simple(): user space's status, or that the call is unsupported. */
const completeSimple =
  ({ regs }: TdRun) =>
  ({ ret = TDVMCALL_STATUS.SUBFUNC_UNSUPPORTED }: ExitReply): Handled => {
    regs.r10 = ret;
    return 'enter';
  };

const ask = (run: TdRun, exit: TdxExit): Handled => ({ exit, takes: { kind: 'ret' }, complete: completeSimple(run) });

/** tdx_get_quote(): R12 the buffer's shared GPA, R13 its size in bytes. */
export function getQuote(run: TdRun): Handled {
  const { r12: gpa, r13: size } = run.regs;
  if (run.td.isPrivate(gpa)) return refuseCall(run, 'kvm.tdvmcall.get-quote');
  const shared = gpa & ~run.td.sharedBit;
  return ask(run, { reason: 'tdx', nr: TDVMCALL.GET_QUOTE, flags: 0n, call: 'get-quote', gpa: shared, size });
}

/** tdx_setup_event_notify_interrupt(): R12 the vector. */
export function setupEventNotifyInterrupt(run: TdRun): Handled {
  const { r12: vector } = run.regs;
  if (vector < 32n || vector > 255n) return refuseCall(run, 'kvm.tdvmcall.event-notify');
  const nr = TDVMCALL.SETUP_EVENT_NOTIFY_INTERRUPT;
  return ask(run, { reason: 'tdx', nr, flags: 0n, call: 'setup-event-notify-interrupt', vector });
}
