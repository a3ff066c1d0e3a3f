import { KVM_MEMORY_ATTRIBUTE_PRIVATE } from '../../../kvm/constants.js';
import { faultInPrivate, faultInShared } from '../fault-in.js';
import { Refusal } from '../refusal.js';
import type { Handled } from './handled.js';
import type { TdRun } from './td-run.js';

const PAGE = 4096;
/** Exit qualification: instruction fetch; read, write, execute permissions; execute permission for user mode. */
const ACCESS_INSTRUCTION = 1n << 2n;
const PERMISSIONS = 0x78n;
/** Extended exit qualification: type in bits 3:0. */
const TYPE = 0xfn;
const PENDING = 6n;

/** tdx_handle_ept_violation(): RCX the exit qualification, RDX the extended one, R8 the GPA. */
export function handleEptViolation(run: TdRun): Handled {
  const { td, regs } = run;
  const { r8: gpa, rcx: qualification, rdx: extended } = regs;
  const gfn = Number((gpa & ~td.sharedBit) / BigInt(PAGE));
  if (!td.isPrivate(gpa)) {
    if (td.vm.bugOn((qualification & ACCESS_INSTRUCTION) !== 0n)) throw new Refusal('kvm.run.shared-fetch');
    return touchShared(run, gfn);
  }
  if ((extended & TYPE) === PENDING && (qualification & PERMISSIONS) === 0n) {
    td.vm.bugOn(true);
    throw new Refusal('kvm.run.unaccepted');
  }
  return touchPrivate(run, gfn);
}

/** kvm_mmu_prepare_memory_fault_exit(): KVM_RUN returns EFAULT with it. */
const memoryFault = (gfn: number, isPrivate: boolean): Handled => ({
  exit: {
    reason: 'memory-fault',
    isPrivate,
    flags: isPrivate ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0n,
    gpa: BigInt(gfn) * BigInt(PAGE),
    size: BigInt(PAGE),
  },
});

/** Without a slot the page becomes MMIO: the guest gets a #VE when it tries again. */
function touchShared({ td: { vm } }: TdRun, gfn: number): Handled {
  const outcome = faultInShared(vm, gfn);
  if (outcome === 'attribute') return memoryFault(gfn, false);
  if (outcome === 'unmapped') throw new Refusal('kvm.run.shared-unmapped');
  return 'enter';
}

function touchPrivate({ td, vcpu }: TdRun, gfn: number): Handled {
  const outcome = faultInPrivate(td, gfn, vcpu.tdpLevel);
  if (outcome === 'attribute' || outcome === 'no-slot') return memoryFault(gfn, true);
  if (td.vm.dead) throw new Refusal('kvm.run.augment');
  return 'enter';
}
