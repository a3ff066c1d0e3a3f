import type { ExitReply } from '../../../kvm/exits.js';
import type { Takes } from '../run/handled.js';

const typeError = (message: string): TypeError =>
  Object.assign(new TypeError(message), { code: 'ERR_INVALID_ARG_TYPE' });
const rangeError = (message: string): RangeError =>
  Object.assign(new RangeError(message), { code: 'ERR_OUT_OF_RANGE' });

/** Refuses a reply that the last exit does not take, in the native backend's words (native/core/reply.cc). */
export function checkReply({ data, ret, tdVmCallInfo, msr }: ExitReply, takes: Takes | undefined): void {
  if (data) {
    if (takes?.kind !== 'data') throw typeError('reply.data: the last exit was no read of a port or of MMIO');
    if (data.length !== takes.length) {
      const expected = `the ${takes.length} bytes that the exit asked for`;
      throw rangeError(`reply.data must have ${expected}, got ${data.length}`);
    }
  }
  if (ret !== undefined && takes?.kind !== 'ret' && takes?.kind !== 'td-vm-call-info')
    throw typeError('reply.ret: the last exit was no hypercall and no KVM_EXIT_TDX');
  if (tdVmCallInfo && takes?.kind !== 'td-vm-call-info')
    throw typeError('reply.tdVmCallInfo: the last exit was no GetTdVmCallInfo');
  if (msr && takes?.kind !== 'msr') throw typeError('reply.msr: the last exit was no access to an MSR');
}
