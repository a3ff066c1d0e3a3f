// State of a plain VM's vCPU beyond its registers, and the MSR filter of a VM (Linux 6.16, arch/x86/include/uapi/asm/kvm.h).
#pragma once

#include <cstdint>

#include "abi.hpp"

namespace kvmtdx::abi {

/** The standard form of XSAVE: the FXSAVE image, at 512 XSTATE_BV, then the components. */
struct kvm_xsave {
  uint32_t region[1024];
};

inline constexpr uint32_t kMaxXcrs = 16;

struct kvm_xcr {
  uint32_t xcr;
  uint32_t reserved;
  uint64_t value;
};

struct kvm_xcrs {
  uint32_t nr_xcrs;
  uint32_t flags;
  kvm_xcr xcrs[kMaxXcrs];
  uint64_t padding[16];
};

struct kvm_vcpu_events {
  struct {
    uint8_t injected;
    uint8_t nr;
    uint8_t has_error_code;
    uint8_t pending;
    uint32_t error_code;
  } exception;
  struct {
    uint8_t injected;
    uint8_t nr;
    uint8_t soft;
    uint8_t shadow;
  } interrupt;
  struct {
    uint8_t injected;
    uint8_t pending;
    uint8_t masked;
    uint8_t pad;
  } nmi;
  uint32_t sipi_vector;
  uint32_t flags;
  struct {
    uint8_t smm;
    uint8_t pending;
    uint8_t smm_inside_nmi;
    uint8_t latched_init;
  } smi;
  struct {
    uint8_t pending;
  } triple_fault;
  uint8_t reserved[26];
  uint8_t exception_has_payload;
  uint64_t exception_payload;
};

inline constexpr uint32_t kMaxMsrFilterRanges = 16;
/** Of one range's bitmap, bytes (arch/x86/include/asm/kvm_host.h, KVM_MSR_FILTER_MAX_BITMAP_SIZE). */
inline constexpr uint32_t kMaxMsrFilterBitmap = 0x600;

struct kvm_msr_filter_range {
  uint32_t flags;
  uint32_t nmsrs;
  uint32_t base;
  /** A set bit allows. */
  const uint8_t* bitmap;
};

struct kvm_msr_filter {
  uint32_t flags;
  kvm_msr_filter_range ranges[kMaxMsrFilterRanges];
};

inline constexpr unsigned long kGetVcpuEvents = Ior<kvm_vcpu_events>(0x9f);
inline constexpr unsigned long kSetVcpuEvents = Iow<kvm_vcpu_events>(0xa0);
inline constexpr unsigned long kGetXsave = Ior<kvm_xsave>(0xa4);
inline constexpr unsigned long kSetXsave = Iow<kvm_xsave>(0xa5);
inline constexpr unsigned long kGetXcrs = Ior<kvm_xcrs>(0xa6);
inline constexpr unsigned long kSetXcrs = Iow<kvm_xcrs>(0xa7);
inline constexpr unsigned long kX86SetMsrFilter = Iow<kvm_msr_filter>(0xc6);

}  // namespace kvmtdx::abi
