// KVM_MEMORY_ENCRYPT_OP on a TD: sub-commands and structs (Linux 6.16, arch/x86/include/uapi/asm/kvm.h).
#pragma once

#include <cstdint>

#include "abi.hpp"

namespace kvmtdx::abi {

inline constexpr uint32_t kTdxCapabilities = 0;
inline constexpr uint32_t kTdxInitVm = 1;
inline constexpr uint32_t kTdxInitVcpu = 2;
inline constexpr uint32_t kTdxInitMemRegion = 3;
inline constexpr uint32_t kTdxFinalizeVm = 4;
inline constexpr uint32_t kTdxGetCpuid = 5;
/** In no release yet: a kernel without it answers EINVAL. */
inline constexpr uint32_t kTdxTerminateVm = 6;

inline constexpr uint32_t kTdxMeasureMemoryRegion = 1;

struct kvm_tdx_cmd {
  uint32_t id;
  uint32_t flags;
  uint64_t data;
  /** Must be 0 on entry, or KVM answers EINVAL. */
  uint64_t hw_error;
};

struct kvm_tdx_capabilities {
  uint64_t supported_attrs;
  uint64_t supported_xfam;
  uint64_t kernel_tdvmcallinfo_1_r11;
  uint64_t user_tdvmcallinfo_1_r11;
  uint64_t kernel_tdvmcallinfo_1_r12;
  uint64_t user_tdvmcallinfo_1_r12;
  uint64_t reserved[250];
  kvm_cpuid2 cpuid;
};

struct kvm_tdx_init_vm {
  uint64_t attributes;
  uint64_t xfam;
  uint64_t mrconfigid[6];
  uint64_t mrowner[6];
  uint64_t mrownerconfig[6];
  uint64_t reserved[12];
  kvm_cpuid2 cpuid;
};

struct kvm_tdx_init_mem_region {
  uint64_t source_addr;
  uint64_t gpa;
  uint64_t nr_pages;
};

}  // namespace kvmtdx::abi
