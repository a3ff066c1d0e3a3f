// Ends of a run that no exit explains by itself.
import type { VcpuExit } from '../../kvm/index.js';
import { exitLine } from '../trace/exit-text.js';
import type { End, VcpuSummary } from './outcome.js';

export const aborted = (reason: unknown): End => ({
  how: 'aborted',
  message:
    reason instanceof Error && reason.name !== 'AbortError'
      ? `The run was aborted: ${reason.message}`
      : 'The run was aborted',
});

export const closed = (vcpu?: number): End =>
  vcpu === undefined
    ? { how: 'closed', message: 'The TD was closed while it ran' }
    : { how: 'closed', vcpu, message: `vCPU ${vcpu} was closed while it ran` };

/** @param silent whether no vCPU has left KVM for a while */
export const timedOut = (timeoutMs: number, silent: boolean): End => ({
  how: 'timeout',
  message: `The guest was still running after ${timeoutMs} ms`,
  advice: silent
    ? 'It did not leave KVM for a long time: it computes, loops, or waits in HLT, which in a TD does not leave the kernel'
    : 'It was busy until the end; give it more time, or look at what it does with a trace',
});

export const halted = (vcpu: number, vcpus: number, exit: VcpuExit): End => ({
  how: 'halted',
  vcpu,
  exit,
  message: `${vcpus === 1 ? 'The vCPU has' : `All ${vcpus} vCPUs have`} halted, and nothing can wake the guest`,
});

/** What is known of a vCPU that runs. */
export interface VcpuHistory {
  exits: number;
  /** Times of performance.now(). */
  last: { exit: VcpuExit; at: number } | undefined;
}

export const summary = (id: number, { exits, last }: VcpuHistory, now: number): VcpuSummary => ({
  id,
  exits,
  ...(last && { lastExit: { text: exitLine(last.exit), msAgo: now - last.at } }),
});
