import type { VcpuExit } from '../../kvm/exits.js';
import { demand, Refusal } from '../../mock/kernel/refusal.js';
import { readReply, writeExit } from '../exits.js';
import { io } from '../layout/ioctl.js';
import { kvmRun } from '../layout/run.js';
import type { VcpuObject } from '../objects.js';
import type { RunPage } from '../run-page.js';
import type { Call, Request } from './request.js';

const EINTR = 4;
const { fields } = kvmRun;

/** MSR_IA32_APICBASE of a TD's vCPU: x2APIC at its usual place; the boot vCPU says so. */
const X2APIC_BASE = 0xfee0_0c00n;
const BSP = 0x100n;

/** KVM_RUN (kvm_main.c kvm_vcpu_ioctl, x86.c kvm_arch_vcpu_ioctl_run). */
export const runRequest: Request<VcpuObject> = {
  name: 'KVM_RUN',
  number: io(0x80),
  argument: 'arg',
  answer: run,
  describe: ({ page, lastExit }, { arg }) => ({
    args: {
      ...(arg !== 0n && { arg }),
      ...(page?.immediateExit && { immediate_exit: 1 }),
      ...(page &&
        lastExit &&
        Object.fromEntries(Object.entries({ reply: readReply(page, lastExit) }).filter(answered))),
    },
  }),
  outcome: ({ lastExit }) => (lastExit ? { exit: lastExit } : {}),
};

const answered = ([, reply]: [string, object]): boolean => Object.keys(reply).length > 0;

async function run(vcpu: VcpuObject, call: Call): Promise<number> {
  demand(call.arg === 0n, 'kvm.request.argument');
  const { page } = vcpu;
  if (!page) throw new Refusal('kvm.request.not-modelled');
  const immediate = page.immediateExit;
  page.set(fields.flags, 0);
  // kvm_sync_valid_fields(): a TD shows no register.
  demand(page.get(fields.kvm_valid_regs) === 0n && page.get(fields.kvm_dirty_regs) === 0n, 'kvm.run.sync-regs');
  try {
    const exit = await enter(vcpu, page, immediate ? AbortSignal.abort() : call.signal);
    vcpu.lastExit = exit;
    writeExit(page, exit);
    if (exit.reason === 'intr') throw new Refusal('kvm.run.signal');
    if (exit.reason === 'memory-fault') throw new Refusal('kvm.run.memory-fault');
    return 0;
  } catch (refusal) {
    if (refusal instanceof Refusal && refusal.errno === EINTR && !immediate) writeExit(page, { reason: 'intr' });
    throw refusal;
  } finally {
    saveState(vcpu, page);
  }
}

async function enter(vcpu: VcpuObject, page: RunPage, signal: AbortSignal): Promise<VcpuExit> {
  const reply = readReply(page, vcpu.lastExit);
  vcpu.lastExit = undefined;
  return vcpu.kernel.run({ reply, signal });
}

/** post_kvm_run_save() of a TD's vCPU. */
function saveState({ kernel }: VcpuObject, page: RunPage): void {
  if (!kernel.td) return;
  const isBsp = kernel.id === kernel.vm.bspVcpuId;
  page.set(fields.if_flag, 0);
  page.set(fields.cr8, 0n);
  page.set(fields.apic_base, isBsp ? X2APIC_BASE | BSP : X2APIC_BASE);
  // LINT0 of the boot vCPU takes interrupts of the 8259; a TD has none, and KVM cannot ask whether it lets them in.
  page.set(fields.ready_for_interrupt_injection, isBsp ? 1 : 0);
}
