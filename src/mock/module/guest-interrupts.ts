import type { Guest } from './guest-context.js';
import type { EnterHost } from './seamcall.js';
import { VECTOR } from './vmx.js';

/**
 * What a processor does between two instructions of a TD: it takes what the host posted, and delivers the interrupt of the
 * highest priority if the guest takes it now, or waits until it does. An NMI that the host left in PEND_NMI comes first, but
 * not before the guest has asked what its last #VE was about: a #VE in the NMI's handler would be a #DF (td_other_exits.c
 * td_nmi_exit). That the handler of one NMI keeps another back until its IRET is not modelled.
 */
export function deliverInterrupts({ vcpu, cpu, trace }: Guest, { posted }: EnterHost): void {
  const { apic } = vcpu;
  if (posted?.outstanding) for (const vector of posted.take()) apic.request(vector);
  cpu.interruptWindow = false;
  const deliver = (vector: number): void => {
    trace?.({ kind: 'interrupt', vector, vcpu: vcpu.index, rip: cpu.rip });
    cpu.inject(vector);
  };
  if (vcpu.pendNmi !== 0 && !vcpu.veInfo && !cpu.injecting) {
    vcpu.pendNmi = 0;
    deliver(VECTOR.NMI);
  }
  const vector = apic.pending;
  if (vector === undefined) return;
  if (!cpu.interruptible) {
    cpu.interruptWindow = true;
    return;
  }
  apic.deliver(vector);
  deliver(vector);
}
