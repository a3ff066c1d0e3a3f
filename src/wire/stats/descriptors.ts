// What KVM counts of a VM and of a vCPU, in its order (x86.c kvm_vm_stats_desc, kvm_vcpu_stats_desc; kvm_host.h
// KVM_GENERIC_VM_STATS, KVM_GENERIC_VCPU_STATS of Linux 6.16.1).

/** kvm_stats_desc.flags, bits 3:0. */
export const TYPE = { cumulative: 0, instant: 1, peak: 2, logHistogram: 4 } as const;
/** Bits 7:4. */
export const UNIT = { none: 0, seconds: 2, boolean: 4 } as const;
/** HALT_POLL_HIST_COUNT. */
const HISTOGRAM = 32;

export interface Statistic {
  readonly name: string;
  readonly type: keyof typeof TYPE;
  readonly unit: keyof typeof UNIT;
  /** Of the unit, to the base of 10. */
  readonly exponent: number;
  /** Values of 64 bits. */
  readonly size: number;
}

const statistics =
  (type: Statistic['type'], unit: Statistic['unit'] = 'none', exponent = 0, size = 1) =>
  (...names: string[]): Statistic[] =>
    names.map((name) => ({ name, type, unit, exponent, size }));

const counters = statistics('cumulative');
const instants = statistics('instant');
const booleans = statistics('instant', 'boolean');
const peaks = statistics('peak');
const nanoseconds = statistics('cumulative', 'seconds', -9);
const histograms = statistics('logHistogram', 'seconds', -9, HISTOGRAM);

export const VM_STATISTICS: readonly Statistic[] = [
  ...counters('remote_tlb_flush', 'remote_tlb_flush_requests', 'mmu_shadow_zapped', 'mmu_pte_write', 'mmu_pde_zapped'),
  ...counters('mmu_flooded', 'mmu_recycled', 'mmu_cache_miss'),
  ...instants('mmu_unsync', 'pages_4k', 'pages_2m', 'pages_1g', 'nx_lpage_splits'),
  ...peaks('max_mmu_rmap_size', 'max_mmu_page_hash_collisions'),
];

export const VCPU_STATISTICS: readonly Statistic[] = [
  ...counters('halt_successful_poll', 'halt_attempted_poll', 'halt_poll_invalid', 'halt_wakeup'),
  ...nanoseconds('halt_poll_success_ns', 'halt_poll_fail_ns', 'halt_wait_ns'),
  ...histograms('halt_poll_success_hist', 'halt_poll_fail_hist', 'halt_wait_hist'),
  ...booleans('blocking'),
  ...counters('pf_taken', 'pf_fixed', 'pf_emulate', 'pf_spurious', 'pf_fast', 'pf_mmio_spte_created', 'pf_guest'),
  ...counters('tlb_flush', 'invlpg', 'exits', 'io_exits', 'mmio_exits', 'signal_exits', 'irq_window_exits'),
  ...counters('nmi_window_exits', 'l1d_flush', 'halt_exits', 'request_irq_exits', 'irq_exits', 'host_state_reload'),
  ...counters('fpu_reload', 'insn_emulation', 'insn_emulation_fail', 'hypercalls', 'irq_injections', 'nmi_injections'),
  ...counters('req_event', 'nested_run', 'directed_yield_attempted', 'directed_yield_successful'),
  ...counters('preemption_reported', 'preemption_other'),
  ...booleans('guest_mode'),
  ...counters('notify_window_exits'),
];
