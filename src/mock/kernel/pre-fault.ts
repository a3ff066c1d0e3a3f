import { faultInPrivate, faultInShared } from './fault-in.js';
import { demand, Refusal } from './refusal.js';
import type { Vcpu } from './vcpu.js';

const PAGE = 4096n;
const U64 = (1n << 64n) - 1n;

/** `struct kvm_pre_fault_memory`: what is left of the range, advanced in place. */
export interface PreFaultRange {
  gpa: bigint;
  size: bigint;
  flags: bigint;
}

/**
 * KVM_PRE_FAULT_MEMORY (kvm_vcpu_pre_fault_memory): maps memory before the guest touches it, shared or private as its
 * attribute says. One page done is enough for success; the range says what is left. @throws Refusal.
 */
export function preFaultMemory(vcpu: Vcpu, range: PreFaultRange): void {
  const end = (range.gpa + range.size) & U64;
  const aligned = range.gpa % PAGE === 0n && range.size % PAGE === 0n;
  demand(range.flags === 0n && aligned && end > range.gpa, 'kvm.pre-fault.arguments');
  const { size } = range;
  try {
    while (range.size > 0n) {
      if (vcpu.vm.task.signalPending()) throw new Refusal('kvm.run.signal');
      mapPage(vcpu, range.gpa);
      range.gpa += PAGE;
      range.size -= PAGE;
    }
  } catch (error) {
    if (!(error instanceof Refusal) || range.size === size) throw error;
  }
}

/** kvm_arch_vcpu_pre_fault_memory(), kvm_tdp_map_page(); a page at a time, as a TD has them. */
function mapPage({ vm, td: vcpu }: Vcpu, gpa: bigint): void {
  demand(vcpu === undefined || vcpu.td.state === 'runnable', 'kvm.pre-fault.allowed');
  demand(!vcpu?.td.isShared(gpa), 'kvm.pre-fault.arguments');
  vcpu?.reloadMmu();
  if (vm.dead) throw new Refusal('kvm.vm-dead');
  const gfn = Number(gpa / PAGE);
  const isPrivate = vcpu !== undefined && vm.privatePages.covers(gfn, gfn + 1);
  const outcome = isPrivate ? faultInPrivate(vcpu.td, gfn, vcpu.tdpLevel) : faultInShared(vm, gfn);
  if (vm.dead) throw new Refusal('kvm.run.augment');
  if (outcome === 'mapped') return;
  // kvm_handle_noslot_fault(): MMIO has no page to map; private memory that nobody backs is a memory fault.
  if (outcome === 'no-slot') throw new Refusal(isPrivate ? 'kvm.pre-fault.memfd' : 'kvm.pre-fault.slot');
  throw new Refusal(outcome === 'busy' ? 'kvm.run.signal' : 'kvm.run.shared-unmapped');
}
