import { KVM_HC_MAP_GPA_RANGE, TDVMCALL_STATUS } from '../../../kvm/constants.js';
import type { Handled } from './handled.js';
import { refuseCall } from './refuse-call.js';
import type { TdRun } from './td-run.js';

/** TDX_MAP_GPA_MAX_LEN: an exit asks for this many bytes at most, so that interrupts get through in between. */
const MOST = 2n << 20n;
const PAGE = 4096n;

/** KVM_MAP_GPA_RANGE_ENCRYPTED, KVM_MAP_GPA_RANGE_DECRYPTED, and KVM_EXIT_HYPERCALL_LONG_MODE. */
const ENCRYPTED = 1n << 4n;
const DECRYPTED = 0n;
const LONG_MODE = 1n;

/** tdx_map_gpa(): R12 the GPA, whose shared bit says what the range becomes, R13 its size in bytes. R11 is how far it got. */
export function mapGpa(run: TdRun): Handled {
  const { td, vcpu } = run;
  const { r12: gpa, r13: size } = run.regs;
  const end = BigInt.asUintN(64, gpa + size);
  const refuse = (rule: Parameters<typeof refuseCall>[1]) => {
    run.regs.r11 = gpa;
    return refuseCall(run, rule);
  };
  if (!td.vm.exitsOnHypercall(KVM_HC_MAP_GPA_RANGE)) return refuse('kvm.tdvmcall.map-gpa-exit');
  const legal = end > gpa && vcpu.vcpu.isLegalGpa(gpa) && vcpu.vcpu.isLegalGpa(end - 1n);
  if (!legal || td.isPrivate(gpa) !== td.isPrivate(end - 1n)) return refuse('kvm.tdvmcall.map-gpa-range');
  if (gpa % PAGE !== 0n || size % PAGE !== 0n) return refuse('kvm.tdvmcall.map-gpa-align');
  return mapPiece(run, gpa, end);
}

/** __tdx_map_gpa() and tdx_complete_vmcall_map_gpa(): asks user space for the next piece. */
function mapPiece(run: TdRun, next: bigint, end: bigint): Handled {
  const { td, regs } = run;
  const size = end - next < MOST ? end - next : MOST;
  const args = [next & ~td.sharedBit, size / PAGE, td.isPrivate(next) ? ENCRYPTED : DECRYPTED, 0n, 0n, 0n];
  return {
    exit: { reason: 'hypercall', nr: KVM_HC_MAP_GPA_RANGE, args, flags: LONG_MODE },
    takes: { kind: 'ret' },
    complete: ({ ret = 0n }) => {
      if (ret !== 0n) {
        regs.r11 = next;
        return refuseCall(run, 'kvm.tdvmcall.map-gpa-user');
      }
      const after = next + MOST;
      if (after >= end) return 'enter';
      if (!run.hasEvents()) return mapPiece(run, after, end);
      Object.assign(regs, { r10: TDVMCALL_STATUS.RETRY, r11: after });
      return 'enter';
    },
  };
}
