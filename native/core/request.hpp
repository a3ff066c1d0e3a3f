// Every KVM request that is issued, with what EINTR means for it. The only way to sys::Ioctl.
#pragma once

#include <cstdint>

#include "abi.hpp"
#include "abi_state.hpp"
#include "sys.hpp"

namespace kvmtdx {

/** What a signal that arrives during the request leads to. */
enum class OnEintr {
  /** Issued again, at most kEintrRetries times: KVM undid what it had begun, or had not begun. */
  kRetry,
  /** Given to the caller of Issue: the request has a meaning of its own for it. */
  kReport,
};

inline constexpr int kEintrRetries = 1000;

struct Request {
  unsigned long number;
  const char* name;
  OnEintr on_eintr;
};

namespace request {

// KVM takes a VM's or a vCPU's lock killably, so most of these see EINTR only when the process dies anyway.
inline constexpr Request kGetApiVersion{abi::kGetApiVersion, "KVM_GET_API_VERSION", OnEintr::kRetry};
inline constexpr Request kCheckExtension{abi::kCheckExtension, "KVM_CHECK_EXTENSION", OnEintr::kRetry};
inline constexpr Request kGetVcpuMmapSize{abi::kGetVcpuMmapSize, "KVM_GET_VCPU_MMAP_SIZE", OnEintr::kRetry};
inline constexpr Request kGetSupportedCpuid{abi::kGetSupportedCpuid, "KVM_GET_SUPPORTED_CPUID", OnEintr::kRetry};
// mmu_notifier_register() waits for every lock of the address space and gives up on a signal; no VM exists then.
inline constexpr Request kCreateVm{abi::kCreateVm, "KVM_CREATE_VM", OnEintr::kRetry};
inline constexpr Request kCreateVcpu{abi::kCreateVcpu, "KVM_CREATE_VCPU", OnEintr::kRetry};
inline constexpr Request kEnableCap{abi::kEnableCap, "KVM_ENABLE_CAP", OnEintr::kRetry};
inline constexpr Request kSetTscKhz{abi::kSetTscKhz, "KVM_SET_TSC_KHZ", OnEintr::kRetry};
inline constexpr Request kGetTscKhz{abi::kGetTscKhz, "KVM_GET_TSC_KHZ", OnEintr::kRetry};
inline constexpr Request kSetUserMemoryRegion{abi::kSetUserMemoryRegion, "KVM_SET_USER_MEMORY_REGION", OnEintr::kRetry};
inline constexpr Request kSetUserMemoryRegion2{abi::kSetUserMemoryRegion2, "KVM_SET_USER_MEMORY_REGION2",
                                               OnEintr::kRetry};
inline constexpr Request kCreateGuestMemfd{abi::kCreateGuestMemfd, "KVM_CREATE_GUEST_MEMFD", OnEintr::kRetry};
inline constexpr Request kSetMemoryAttributes{abi::kSetMemoryAttributes, "KVM_SET_MEMORY_ATTRIBUTES", OnEintr::kRetry};
inline constexpr Request kSetTssAddr{abi::kSetTssAddr, "KVM_SET_TSS_ADDR", OnEintr::kRetry};
inline constexpr Request kSetIdentityMapAddr{abi::kSetIdentityMapAddr, "KVM_SET_IDENTITY_MAP_ADDR", OnEintr::kRetry};
inline constexpr Request kSetCpuid2{abi::kSetCpuid2, "KVM_SET_CPUID2", OnEintr::kRetry};
inline constexpr Request kGetRegs{abi::kGetRegs, "KVM_GET_REGS", OnEintr::kRetry};
inline constexpr Request kSetRegs{abi::kSetRegs, "KVM_SET_REGS", OnEintr::kRetry};
inline constexpr Request kGetSregs{abi::kGetSregs, "KVM_GET_SREGS", OnEintr::kRetry};
inline constexpr Request kSetSregs{abi::kSetSregs, "KVM_SET_SREGS", OnEintr::kRetry};
inline constexpr Request kGetXsave{abi::kGetXsave, "KVM_GET_XSAVE", OnEintr::kRetry};
inline constexpr Request kSetXsave{abi::kSetXsave, "KVM_SET_XSAVE", OnEintr::kRetry};
inline constexpr Request kGetXcrs{abi::kGetXcrs, "KVM_GET_XCRS", OnEintr::kRetry};
inline constexpr Request kSetXcrs{abi::kSetXcrs, "KVM_SET_XCRS", OnEintr::kRetry};
inline constexpr Request kGetVcpuEvents{abi::kGetVcpuEvents, "KVM_GET_VCPU_EVENTS", OnEintr::kRetry};
inline constexpr Request kSetVcpuEvents{abi::kSetVcpuEvents, "KVM_SET_VCPU_EVENTS", OnEintr::kRetry};
inline constexpr Request kX86SetMsrFilter{abi::kX86SetMsrFilter, "KVM_X86_SET_MSR_FILTER", OnEintr::kRetry};
// EINTR is how a run is interrupted.
inline constexpr Request kRun{abi::kRun, "KVM_RUN", OnEintr::kReport};

// KVM_MEMORY_ENCRYPT_OP, by sub-command. INIT_VM undoes everything when it fails.
inline constexpr Request kTdxCapabilities{abi::kMemoryEncryptOp, "KVM_TDX_CAPABILITIES", OnEintr::kRetry};
inline constexpr Request kTdxInitVm{abi::kMemoryEncryptOp, "KVM_TDX_INIT_VM", OnEintr::kRetry};
inline constexpr Request kTdxFinalizeVm{abi::kMemoryEncryptOp, "KVM_TDX_FINALIZE_VM", OnEintr::kRetry};
inline constexpr Request kTdxTerminateVm{abi::kMemoryEncryptOp, "KVM_TDX_TERMINATE_VM", OnEintr::kRetry};
inline constexpr Request kTdxInitVcpu{abi::kMemoryEncryptOp, "KVM_TDX_INIT_VCPU", OnEintr::kRetry};
inline constexpr Request kTdxGetCpuid{abi::kMemoryEncryptOp, "KVM_TDX_GET_CPUID", OnEintr::kRetry};
// Resumed from the page where it stopped, see Vcpu::InitMemRegion.
inline constexpr Request kTdxInitMemRegion{abi::kMemoryEncryptOp, "KVM_TDX_INIT_MEM_REGION", OnEintr::kReport};

}  // namespace request

/** What Issue does after a first failure: again, if the request is one for that. @throws SysError. */
long IssueAgain(int fd, const Request& request, uint64_t argument, sys::Result refused);

/**
 * Issues a request with a number as its argument. Inline, because every return after a system call is mispredicted: the
 * levels between it and the caller show in the time of the cheapest requests.
 * @throws SysError.
 */
inline long Issue(int fd, const Request& request, uint64_t argument = 0) {
  const sys::Result result = sys::Ioctl(fd, request.number, argument);
  if (result.ok()) [[likely]] {
    return result.value;
  }
  return IssueAgain(fd, request, argument, result);
}

/** Issues a request with a struct as its argument. The caller pairs request and struct. @throws SysError. */
template <typename T>
long IssueWith(int fd, const Request& request, T* argument) {
  return Issue(fd, request, reinterpret_cast<uint64_t>(argument));
}

/** A KVM_MEMORY_ENCRYPT_OP sub-command of a TD. `data` is a number or the address of the sub-command's struct. */
struct TdxCommand {
  const Request& request;
  uint32_t id = 0;
  uint32_t flags = 0;
  uint64_t data = 0;
};

/** hw_error is 0 at every attempt, as KVM demands, and read before the errno is given on. @throws SysError. */
void Issue(int fd, const TdxCommand& command);

}  // namespace kvmtdx
