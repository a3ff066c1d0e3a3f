import { KVM_CAP } from '../../kvm/constants.js';
import type { MockHost } from './host.js';
import type { Vm } from './vm.js';

/** KVM_MAX_VCPUS and KVM_MAX_VCPU_IDS of x86 kernels as distributions build them. */
export const KVM_MAX_VCPUS = 1024;
export const KVM_MAX_VCPU_IDS = 4096;

/** KVM_USER_MEM_SLOTS: SHRT_MAX less three of KVM's own. */
export const KVM_USER_MEM_SLOTS = 32764;

type Answer = number | ((host: MockHost, vm: Vm | undefined) => number);

const privateMemory: Answer = (_, vm) => (!vm || vm.hasPrivateMem ? 1 : 0);

/**
 * KVM_CHECK_EXTENSION by capability number: kvm_vm_ioctl_check_extension_generic (kvm_main.c) and
 * kvm_vm_ioctl_check_extension (x86.c) of Linux 6.16.1, with a configuration as distributions have it. Numbers:
 * include/uapi/linux/kvm.h. What is not here answers 0.
 */
const answers: Readonly<Record<number, Answer>> = {
  ...Object.fromEntries(
    [
      // USER_MEMORY, DESTROY_MEMORY_REGION_WORKS, JOIN_MEMORY_REGIONS_WORKS, INTERNAL_ERROR_DATA
      3, 21, 30, 40,
      // IRQFD, SIGNAL_MSI, ENABLE_CAP_VM, CHECK_EXTENSION_VM, IOEVENTFD_ANY_LENGTH, DEVICE_CTRL, COALESCED_PIO
      32, 77, 98, 105, 122, 89, 162,
      // HALT_POLL, BINARY_STATS_FD, SYSTEM_EVENT_DATA, USER_MEMORY2
      182, 203, 215, 231,
      // IRQCHIP, HLT, MMU_SHADOW_CACHE_CONTROL, SET_TSS_ADDR, VAPIC, EXT_CPUID, CLOCKSOURCE
      0, 1, 2, 4, 6, 7, 8,
      // PIT, NOP_IO_DELAY, MP_STATE, SYNC_MMU, USER_NMI, SET_GUEST_DEBUG, REINJECT_CONTROL, IRQ_INJECT_STATUS
      11, 12, 14, 16, 22, 23, 24, 26,
      // PIT2, SET_BOOT_CPU_ID, PIT_STATE2, IOEVENTFD, SET_IDENTITY_MAP_ADDR, VCPU_EVENTS, PCI_SEGMENT
      33, 34, 35, 36, 37, 41, 47,
      // HYPERV and its parts
      44, 45, 46, 96, 123, 148, 149, 154, 155, 161, 167, 191, 199,
      // DEBUGREGS, X86_ROBUST_SINGLESTEP, ENABLE_CAP, XSAVE, XCRS, ASYNC_PF, TSC_CONTROL, GET_TSC_KHZ
      50, 51, 54, 55, 56, 59, 60, 61,
      // TSC_DEADLINE_TIMER, KVMCLOCK_CTRL, IRQFD_RESAMPLE, EXT_EMUL_CPUID, IOAPIC_POLARITY_IGNORED
      72, 76, 82, 95, 97,
      // IOEVENTFD_NO_LENGTH, DISABLE_QUIRKS, SPLIT_IRQCHIP, VCPU_ATTRIBUTES, IMMEDIATE_EXIT
      100, 116, 121, 127, 136,
      // GET_MSR_FEATURES, MSR_PLATFORM_INFO, EXCEPTION_PAYLOAD, PMU_EVENT_FILTER, ASYNC_PF_INT, LAST_CPU
      153, 159, 164, 173, 183, 184,
      // STEAL_TIME, X86_USER_SPACE_MSR, X86_MSR_FILTER, ENFORCE_PV_FEATURE_CPUID, SGX_ATTRIBUTE
      187, 188, 189, 190, 196,
      // VM_COPY_ENC_CONTEXT_FROM, SREGS2, EXIT_ON_EMULATION_FAILURE, VM_MOVE_ENC_CONTEXT_FROM, SYS_ATTRIBUTES
      197, 200, 204, 206, 209,
      // VM_TSC_CONTROL, X86_TRIPLE_FAULT_EVENT, X86_NOTIFY_VMEXIT, VM_DISABLE_NX_HUGE_PAGES
      214, 218, 219, 220,
      // PMU_EVENT_MASKED_EVENTS, MEMORY_FAULT_INFO, PRE_FAULT_MEMORY, X86_APIC_BUS_CYCLES_NS, X86_GUEST_MODE
      226, 232, 236, 237, 238,
    ].map((capability) => [capability, 1]),
  ),
  [KVM_CAP.NR_VCPUS]: (host) => Math.min(host.onlineCpus, KVM_MAX_VCPUS),
  [KVM_CAP.NR_MEMSLOTS]: KVM_USER_MEM_SLOTS,
  /** COALESCED_MMIO: KVM_COALESCED_MMIO_PAGE_OFFSET. */
  15: 2,
  /** IRQ_ROUTING: KVM_MAX_IRQ_ROUTES. */
  25: 4096,
  /** MCE: KVM_MAX_MCE_BANKS. */
  31: 32,
  /** ADJUST_CLOCK: TSC_STABLE, REALTIME, HOST_TSC. */
  39: 0xe,
  [KVM_CAP.MAX_VCPUS]: (_, vm) => vm?.maxVcpus ?? KVM_MAX_VCPUS,
  /** SYNC_REGS: regs, sregs, events; none of a TD. */
  74: (_, vm) => (vm?.td ? 0 : 7),
  [KVM_CAP.READONLY_MEM]: (_, vm) => (vm?.td ? 0 : 1),
  /** MULTI_ADDRESS_SPACE. */
  118: (_, vm) => (vm?.hasPrivateMem ? 1 : 2),
  /** X86_SMM: a TD has none. */
  117: (_, vm) => (vm?.td ? 0 : 1),
  [KVM_CAP.MAX_VCPU_ID]: KVM_MAX_VCPU_IDS,
  [KVM_CAP.X2APIC_API]: 3,
  /** X86_DISABLE_EXITS: HLT, PAUSE, CSTATE and MWAIT. */
  143: 0xf,
  /** NESTED_STATE: the header and two VMCS12 pages. */
  157: 128 + 2 * 4096,
  /** HYPERV_ENLIGHTENED_VMCS. */
  163: 1,
  /** MANUAL_DIRTY_LOG_PROTECT2. */
  168: 3,
  /** DIRTY_LOG_RING and DIRTY_LOG_RING_ACQ_REL: 65536 entries of 16 bytes. */
  192: 0x10_0000,
  223: 0x10_0000,
  /** X86_BUS_LOCK_EXIT. */
  193: 3,
  /** SET_GUEST_DEBUG2: KVM_GUESTDBG_VALID_MASK. */
  195: 0x1f_0003,
  [KVM_CAP.EXIT_HYPERCALL]: 0x1000,
  /** XSAVE2: at least a page. */
  208: 4096,
  /** PMU_CAPABILITY. */
  212: 1,
  /** DISABLE_QUIRKS2: all quirks that can be disabled. */
  213: 0x3ff,
  [KVM_CAP.MEMORY_ATTRIBUTES]: (_, vm) => (!vm || vm.hasPrivateMem ? 8 : 0),
  [KVM_CAP.GUEST_MEMFD]: privateMemory,
  [KVM_CAP.VM_TYPES]: (host) => host.vmTypes,
};

/**
 * KVM_CHECK_EXTENSION, on `/dev/kvm` or on a VM. What a captured host reported on `/dev/kvm` wins, also on a VM where the
 * answer is the same for all.
 */
export function checkExtension(host: MockHost, vm: Vm | undefined, capability: number): number {
  const answer = answers[capability] ?? 0;
  const { checkExtension: captured } = host.profile.kernel;
  if (captured && (!vm || typeof answer === 'number')) return captured[capability] ?? 0;
  return typeof answer === 'number' ? answer : answer(host, vm);
}
