// Numbers of KVM's user-space interface (include/uapi/linux/kvm.h, arch/x86/include/uapi/asm/kvm.h, Linux 6.16).
// Names are the kernel's. native/core/abi.hpp holds the same facts for C++; a test compares the two.

/** Virtual machine types, the argument of KVM_CREATE_VM. */
export const KVM_X86_DEFAULT_VM = 0;
export const KVM_X86_SW_PROTECTED_VM = 1;
export const KVM_X86_SEV_VM = 2;
export const KVM_X86_SEV_ES_VM = 3;
export const KVM_X86_SNP_VM = 4;
export const KVM_X86_TDX_VM = 5;

/** Capabilities, the argument of KVM_CHECK_EXTENSION and KVM_ENABLE_CAP. */
export const KVM_CAP = {
  USER_MEMORY: 3,
  SET_TSS_ADDR: 4,
  EXT_CPUID: 7,
  NR_VCPUS: 9,
  NR_MEMSLOTS: 10,
  SET_IDENTITY_MAP_ADDR: 37,
  TSC_CONTROL: 60,
  GET_TSC_KHZ: 61,
  MAX_VCPUS: 66,
  READONLY_MEM: 81,
  SPLIT_IRQCHIP: 121,
  MAX_VCPU_ID: 128,
  X2APIC_API: 129,
  IMMEDIATE_EXIT: 136,
  EXIT_HYPERCALL: 201,
  VM_TSC_CONTROL: 214,
  X86_USER_SPACE_MSR: 188,
  X86_MSR_FILTER: 189,
  MEMORY_FAULT_INFO: 232,
  USER_MEMORY2: 231,
  MEMORY_ATTRIBUTES: 233,
  GUEST_MEMFD: 234,
  VM_TYPES: 235,
  PRE_FAULT_MEMORY: 236,
  X86_APIC_BUS_CYCLES_NS: 237,
} as const;

/** Sub-commands of KVM_MEMORY_ENCRYPT_OP on a TD (kvm-tdx ABI of Linux 6.16; TERMINATE_VM is not in a release). */
export const KVM_TDX = {
  CAPABILITIES: 0,
  INIT_VM: 1,
  INIT_VCPU: 2,
  INIT_MEM_REGION: 3,
  FINALIZE_VM: 4,
  GET_CPUID: 5,
  TERMINATE_VM: 6,
} as const;

/** Flag of KVM_TDX_INIT_MEM_REGION: extend the measurement with the content of each page. */
export const KVM_TDX_MEASURE_MEMORY_REGION = 1;

/** kvm_cpuid_entry2.flags: `index` counts; without it an entry matches every sub-leaf. */
export const KVM_CPUID_FLAG_SIGNIFCANT_INDEX = 1;

export const KVM_MEM_LOG_DIRTY_PAGES = 1;
export const KVM_MEM_READONLY = 2;
export const KVM_MEM_GUEST_MEMFD = 4;

export const KVM_MEMORY_ATTRIBUTE_PRIVATE = 8n;

export const KVM_X2APIC_API_USE_32BIT_IDS = 1n;
export const KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK = 2n;

export const KVM_HC_MAP_GPA_RANGE = 12n;

/** Leaves of TDG.VP.VMCALL that stand for no instruction, in R11 (GHCI; arch/x86/include/asm/shared/tdx.h). */
export const TDVMCALL = {
  GET_TD_VM_CALL_INFO: 0x1_0000n,
  MAP_GPA: 0x1_0001n,
  GET_QUOTE: 0x1_0002n,
  REPORT_FATAL_ERROR: 0x1_0003n,
  SETUP_EVENT_NOTIFY_INTERRUPT: 0x1_0004n,
} as const;

/** What a guest finds in R10 after TDG.VP.VMCALL (GHCI; arch/x86/include/asm/shared/tdx.h). */
export const TDVMCALL_STATUS = {
  SUCCESS: 0n,
  RETRY: 1n,
  INVALID_OPERAND: 0x8000_0000_0000_0000n,
  ALIGN_ERROR: 0x8000_0000_0000_0002n,
  SUBFUNC_UNSUPPORTED: 0x8000_0000_0000_0003n,
} as const;

/** kvm_run.exit_reason values that this library decodes. */
export const KVM_EXIT = {
  UNKNOWN: 0,
  IO: 2,
  HYPERCALL: 3,
  HLT: 5,
  IRQ_WINDOW_OPEN: 7,
  MMIO: 6,
  SHUTDOWN: 8,
  FAIL_ENTRY: 9,
  INTR: 10,
  INTERNAL_ERROR: 17,
  SYSTEM_EVENT: 24,
  X86_RDMSR: 29,
  X86_WRMSR: 30,
  MEMORY_FAULT: 39,
  TDX: 40,
} as const;

export const PAGE_SIZE = 4096;
