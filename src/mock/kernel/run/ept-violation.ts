import { KVM_MEM_GUEST_MEMFD, KVM_MEMORY_ATTRIBUTE_PRIVATE } from '../../../kvm/constants.js';
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
/** A kernel tries for as long as the module is busy; a model lets others run in between. */
const BUSY_TRIES = 16;

/** tdx_handle_ept_violation(): RCX the exit qualification, RDX the extended one, R8 the GPA. */
export function handleEptViolation(run: TdRun): Handled {
  const { td, regs } = run;
  const { r8: gpa, rcx: qualification, rdx: extended } = regs;
  const gfn = Number((gpa & ~td.sharedBit) / BigInt(PAGE));
  if (!td.isPrivate(gpa)) {
    if (td.vm.bugOn((qualification & ACCESS_INSTRUCTION) !== 0n)) throw new Refusal('kvm.run.shared-fetch');
    return faultInShared(run, gfn);
  }
  if ((extended & TYPE) === PENDING && (qualification & PERMISSIONS) === 0n) {
    td.vm.bugOn(true);
    throw new Refusal('kvm.run.unaccepted');
  }
  return faultInPrivate(run, gfn);
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

/** kvm_mmu_faultin_pfn() of a shared page. Without a slot the page becomes MMIO: the guest gets a #VE when it tries again. */
function faultInShared({ td: { vm } }: TdRun, gfn: number): Handled {
  if (vm.privatePages.covers(gfn, gfn + 1)) return memoryFault(gfn, false);
  const slot = vm.slots.find(gfn);
  if (!slot) return 'enter';
  const address = slot.userspaceAddr + BigInt((gfn - slot.baseGfn) * PAGE);
  if (!vm.task.readUser(address, 1)) throw new Refusal('kvm.run.shared-unmapped');
  return 'enter';
}

/** kvm_mmu_faultin_pfn_private() and kvm_tdp_mmu_map(): the page of the guest_memfd is added with TDH.MEM.PAGE.AUG. */
function faultInPrivate({ td, vcpu }: TdRun, gfn: number): Handled {
  const { vm, mmu } = td;
  const slot = vm.slots.find(gfn);
  const gmem = slot && (slot.flags & KVM_MEM_GUEST_MEMFD) !== 0 ? slot.gmem : undefined;
  if (!vm.privatePages.covers(gfn, gfn + 1) || !slot || !gmem || gmem === 'closed') return memoryFault(gfn, true);
  const index = gfn - slot.baseGfn + slot.gmemPage;
  const page = gmem.folio(index);
  gmem.markPrepared(index);
  for (let tries = 0; tries < BUSY_TRIES; tries++) {
    if (mmu.augment(gfn, page, vcpu.tdpLevel) === 'mapped') break;
    if (vm.dead) throw new Refusal('kvm.run.augment');
  }
  return 'enter';
}
