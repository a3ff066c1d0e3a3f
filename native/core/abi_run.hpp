// struct kvm_run, the page that a vCPU shares with the kernel, and the exits this project decodes (Linux 6.16,
// include/uapi/linux/kvm.h).
#pragma once

#include <cstdint>

namespace kvmtdx::abi {

inline constexpr uint32_t kExitUnknown = 0;
inline constexpr uint32_t kExitIo = 2;
inline constexpr uint32_t kExitHypercall = 3;
inline constexpr uint32_t kExitHlt = 5;
inline constexpr uint32_t kExitMmio = 6;
inline constexpr uint32_t kExitIrqWindowOpen = 7;
inline constexpr uint32_t kExitShutdown = 8;
inline constexpr uint32_t kExitFailEntry = 9;
inline constexpr uint32_t kExitIntr = 10;
inline constexpr uint32_t kExitInternalError = 17;
inline constexpr uint32_t kExitSystemEvent = 24;
inline constexpr uint32_t kExitX86Rdmsr = 29;
inline constexpr uint32_t kExitX86Wrmsr = 30;
inline constexpr uint32_t kExitMemoryFault = 39;
inline constexpr uint32_t kExitTdx = 40;

inline constexpr uint8_t kIoIn = 0;
inline constexpr uint8_t kIoOut = 1;
inline constexpr uint64_t kMemoryExitFlagPrivate = 1ULL << 3;

/** kvm_run.tdx.nr: sub-functions of TDG.VP.VMCALL that reach user space (arch/x86/include/asm/shared/tdx.h). */
inline constexpr uint64_t kTdvmcallGetTdVmCallInfo = 0x10000;
inline constexpr uint64_t kTdvmcallGetQuote = 0x10002;
inline constexpr uint64_t kTdvmcallSetupEventNotifyInterrupt = 0x10004;

inline constexpr uint32_t kMaxExitData = 16;

struct kvm_run_fail_entry {
  uint64_t hardware_entry_failure_reason;
  uint32_t cpu;
};

struct kvm_run_io {
  uint8_t direction;
  uint8_t size;
  uint16_t port;
  uint32_t count;
  uint64_t data_offset;
};

struct kvm_run_mmio {
  uint64_t phys_addr;
  uint8_t data[8];
  uint32_t len;
  uint8_t is_write;
};

struct kvm_run_hypercall {
  uint64_t nr;
  uint64_t args[6];
  uint64_t ret;
  uint64_t flags;
};

struct kvm_run_internal {
  uint32_t suberror;
  uint32_t ndata;
  uint64_t data[kMaxExitData];
};

struct kvm_run_system_event {
  uint32_t type;
  uint32_t ndata;
  uint64_t data[kMaxExitData];
};

struct kvm_run_msr {
  /** From user space: not 0 makes it a #GP. */
  uint8_t error;
  uint8_t pad[7];
  uint32_t reason;
  uint32_t index;
  uint64_t data;
};

struct kvm_run_memory_fault {
  uint64_t flags;
  uint64_t gpa;
  uint64_t size;
};

struct kvm_run_tdx {
  uint64_t flags;
  uint64_t nr;
  union {
    struct {
      uint64_t ret;
      uint64_t data[5];
    } unknown;
    struct {
      uint64_t ret;
      uint64_t gpa;
      uint64_t size;
    } get_quote;
    struct {
      uint64_t ret;
      uint64_t leaf;
      uint64_t r11, r12, r13, r14;
    } get_tdvmcall_info;
    struct {
      uint64_t ret;
      uint64_t vector;
    } setup_event_notify;
  };
};

struct kvm_run {
  uint8_t request_interrupt_window;
  uint8_t immediate_exit;
  uint8_t padding1[6];
  uint32_t exit_reason;
  uint8_t ready_for_interrupt_injection;
  uint8_t if_flag;
  uint16_t flags;
  uint64_t cr8;
  uint64_t apic_base;
  union {
    kvm_run_fail_entry fail_entry;
    kvm_run_io io;
    kvm_run_mmio mmio;
    kvm_run_hypercall hypercall;
    kvm_run_internal internal;
    kvm_run_system_event system_event;
    kvm_run_msr msr;
    kvm_run_memory_fault memory_fault;
    kvm_run_tdx tdx;
    char padding[256];
  };
  uint64_t kvm_valid_regs;
  uint64_t kvm_dirty_regs;
  char sync_regs[2048];
};

}  // namespace kvmtdx::abi
