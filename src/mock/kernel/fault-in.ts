import { KVM_MEM_GUEST_MEMFD } from '../../kvm/constants.js';
import type { Td } from './td.js';
import type { Vm } from './vm.js';

const PAGE = 4096;
/** A kernel tries for as long as the module is busy; a model lets others run in between. */
const BUSY_TRIES = 16;

/** Why a page is not mapped: its attribute is the other one, no slot has it, or nothing is mapped behind the slot. */
export type NotMapped = 'attribute' | 'no-slot' | 'unmapped';

/** kvm_mmu_faultin_pfn() of a shared page. */
export function faultInShared(vm: Vm, gfn: number): 'mapped' | NotMapped {
  if (vm.privatePages.covers(gfn, gfn + 1)) return 'attribute';
  const slot = vm.slots.find(gfn);
  if (!slot) return 'no-slot';
  const address = slot.userspaceAddr + BigInt((gfn - slot.baseGfn) * PAGE);
  return vm.task.readUser(address, 1) ? 'mapped' : 'unmapped';
}

/**
 * kvm_mmu_faultin_pfn_private() and kvm_tdp_mmu_map(): the page of the guest_memfd is added with TDH.MEM.PAGE.AUG. 'busy' if
 * the module was, to the end, or failed, which kills the VM. @param levels of the vCPU that faults.
 */
export function faultInPrivate({ vm, mmu }: Td, gfn: number, levels: 4 | 5): 'mapped' | 'busy' | NotMapped {
  if (!vm.privatePages.covers(gfn, gfn + 1)) return 'attribute';
  const slot = vm.slots.find(gfn);
  const gmem = slot && (slot.flags & KVM_MEM_GUEST_MEMFD) !== 0 ? slot.gmem : undefined;
  if (!slot || !gmem || gmem === 'closed') return 'no-slot';
  const index = gfn - slot.baseGfn + slot.gmemPage;
  const page = gmem.folio(index);
  gmem.markPrepared(index);
  for (let tries = 0; tries < BUSY_TRIES; tries++) {
    if (mmu.augment(gfn, page, levels) === 'mapped') return 'mapped';
    if (vm.dead) return 'busy';
  }
  return 'busy';
}
