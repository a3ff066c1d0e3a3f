import type { VcpuExit } from '../../kvm/index.js';
import type { Bus, BusAnswer } from './bus.js';
import {
  type ExplainContext,
  failEntry,
  internalError,
  memoryFault,
  systemEvent,
  tripleFault,
  unknownExit,
} from './explain.js';
import type { End } from './outcome.js';
import { answerHypercall, answerTdx, type VmcallHandlers } from './td-vmcall.js';

/** A reply to the guest, an order to stop, the end of the run, or nothing more for this vCPU to do. */
export type Answer = BusAnswer | End | { wait: 'halted' };

/** What the run loop does about an exit, but for a halt. */
export function answerExit(exit: VcpuExit, context: ExplainContext, bus: Bus, handlers: VmcallHandlers): Answer {
  switch (exit.reason) {
    case 'io':
      return bus.io(exit);
    case 'mmio':
      return bus.mmio(exit);
    case 'hypercall':
      return { reply: answerHypercall(exit, handlers) };
    case 'tdx':
      return { reply: answerTdx(exit, context.vcpu, handlers) };
    // Without a value it is a #GP: the MSR is nobody's.
    case 'x86-rdmsr':
    case 'x86-wrmsr':
    case 'intr':
      return { reply: {} };
    case 'shutdown':
      return tripleFault(context);
    case 'memory-fault':
      return memoryFault(exit, context);
    case 'system-event':
      return systemEvent(exit, context);
    case 'internal-error':
      return internalError(exit, context);
    case 'fail-entry':
      return failEntry(exit, context);
    default:
      return unknownExit(exit, context);
  }
}
