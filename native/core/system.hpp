// /dev/kvm.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "children.hpp"
#include "cpuid.hpp"
#include "error.hpp"
#include "memory.hpp"
#include "owned.hpp"
#include "request.hpp"
#include "vm.hpp"

namespace kvmtdx {

class System : public std::enable_shared_from_this<System> {
 public:
  /** @throws SysError of open. */
  static std::shared_ptr<System> Open(const std::string& path);

  bool closed() const { return !fd_.valid(); }
  /** Closes VMs, then memory, then the descriptor. */
  void Close() noexcept;

  /** KVM_GET_API_VERSION. */
  int GetApiVersion() const;
  /** KVM_CHECK_EXTENSION. */
  int CheckExtension(uint32_t capability) const {
    return static_cast<int>(Issue(fd(), request::kCheckExtension, capability));
  }
  /** KVM_GET_VCPU_MMAP_SIZE. */
  int GetVcpuMmapSize() const;
  /** KVM_GET_SUPPORTED_CPUID. */
  CpuidEntries GetSupportedCpuid() const;
  /** KVM_CREATE_VM. */
  std::shared_ptr<Vm> CreateVm(uint32_t type);
  std::shared_ptr<GuestMemory> CreateMemory(uint64_t size);

 private:
  explicit System(UniqueFd fd) : fd_(std::move(fd)) {}
  int fd() const {
    if (closed()) ThrowClosed("the KVM system");
    return fd_.get();
  }

  UniqueFd fd_;
  Children<Vm> vms_;
  Children<GuestMemory> memory_;
};

}  // namespace kvmtdx
