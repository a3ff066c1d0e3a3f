import { KVM_HC_MAP_GPA_RANGE } from '../../../kvm/constants.js';
import type { Handled } from './handled.js';
import type { TdRun } from './td-run.js';

/** Hypercalls and their errors (include/uapi/linux/kvm_para.h). */
const HC = { VAPIC_POLL_IRQ: 1n, KICK_CPU: 5n, CLOCK_PAIRING: 9n, SEND_IPI: 10n, SCHED_YIELD: 11n } as const;
const ENOSYS = -1000n;
const EOPNOTSUPP = -95n;
const EINVAL = -22n;

const PAGE = 4096n;
const LONG_MODE = 1n;
/** Destination mode and shorthand of an ICR. */
const ICR_DESTINATION = 0xc_0800n;

type Call = (run: TdRun, a0: bigint, a1: bigint, a2: bigint, a3: bigint) => bigint;

/** The wall clock pairing needs a TSC that a model does not share with its guest. */
const CALLS: ReadonlyMap<bigint, Call> = new Map<bigint, Call>([
  [HC.VAPIC_POLL_IRQ, () => 0n],
  [HC.KICK_CPU, kickCpu],
  [HC.CLOCK_PAIRING, () => EOPNOTSUPP],
  [HC.SEND_IPI, sendIpi],
  [HC.SCHED_YIELD, () => 0n],
]);

/** tdx_emulate_vmcall(): R10, not 0, is the hypercall, R11 to R14 its arguments. The result goes to R10. */
export function emulateHypercall(run: TdRun): Handled {
  const { r10: nr, r11, r12, r13, r14 } = run.regs;
  if (nr === KVM_HC_MAP_GPA_RANGE && run.td.vm.exitsOnHypercall(nr)) return mapGpaRange(run, r11, r12, r13);
  return finish(run, CALLS.get(nr)?.(run, r11, r12, r13, r14) ?? ENOSYS);
}

/** complete_hypercall_exit(). */
function finish({ regs }: TdRun, ret: bigint): 'enter' {
  regs.r10 = BigInt.asUintN(64, ret);
  return 'enter';
}

function mapGpaRange(run: TdRun, gpa: bigint, npages: bigint, attributes: bigint): Handled {
  const gfn = gpa / PAGE;
  if (gpa % PAGE !== 0n || npages === 0n || BigInt.asUintN(64, gfn + npages) <= gfn) return finish(run, EINVAL);
  const args = [gpa, npages, attributes, 0n, 0n, 0n];
  return {
    exit: { reason: 'hypercall', nr: KVM_HC_MAP_GPA_RANGE, args, flags: LONG_MODE },
    takes: { kind: 'ret' },
    complete: ({ ret = 0n }) => finish(run, ret),
  };
}

/** KVM_HC_KICK_CPU: ends the halt of the vCPU with an APIC id, or its next one. */
function kickCpu({ td }: TdRun, _flags: bigint, apicId: bigint): bigint {
  td.vm.vcpus.get(Number(apicId & 0xffff_ffffn))?.td?.run.unhalt();
  return 0n;
}

/** kvm_pv_send_ipi(): two sets of 64 APIC ids from `min` on, a u32 that may wrap in between; how many vCPUs took the interrupt. */
function sendIpi({ td }: TdRun, low: bigint, high: bigint, min: bigint, icr: bigint): bigint {
  if ((icr & ICR_DESTINATION) !== 0n) return EINVAL;
  let count = 0n;
  for (const [ids, first] of [
    [low, BigInt.asUintN(32, min)],
    [high, BigInt.asUintN(32, min + 64n)],
  ] as const) {
    for (const { id, td: vcpu } of td.vm.vcpus.values()) {
      const bit = BigInt(id) - first;
      if (bit < 0n || bit >= 64n || ((ids >> bit) & 1n) === 0n) continue;
      if (vcpu?.run.apic.accept(Number(icr & 0x700n), Number(icr & 0xffn))) count++;
    }
  }
  return count;
}
