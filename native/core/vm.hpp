// A VM descriptor.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>

#include "abi_tdx.hpp"
#include "children.hpp"
#include "cpuid.hpp"
#include "error.hpp"
#include "memory.hpp"
#include "owned.hpp"
#include "request.hpp"

namespace kvmtdx {

class Vcpu;

/** struct kvm_userspace_memory_region2, with objects in place of addresses and descriptors. */
struct MemorySlot {
  uint32_t slot = 0;
  uint32_t flags = 0;
  uint64_t gpa = 0;
  uint64_t size = 0;
  const GuestMemory* memory = nullptr;
  uint64_t memory_offset = 0;
  const GuestMemfd* guest_memfd = nullptr;
  uint64_t guest_memfd_offset = 0;
};

/** struct kvm_msr_filter_range with its bitmap, one bit an MSR, set: allowed. */
struct MsrFilterRange {
  uint32_t flags;
  uint32_t base;
  uint32_t nmsrs;
  std::span<const uint8_t> bitmap;

  /** What `bitmap` must have: the kernel's BITS_TO_LONGS(nmsrs) longs. */
  [[nodiscard]] std::size_t BitmapBytes() const { return (std::size_t{nmsrs} + 63) / 64 * sizeof(uint64_t); }
};

struct TdxCapabilities {
  abi::kvm_tdx_capabilities fixed;
  CpuidEntries cpuid;
};

/** struct kvm_tdx_init_vm. `measurement` is mrconfigid, mrowner, mrownerconfig. */
struct TdxInitVm {
  uint64_t attributes;
  uint64_t xfam;
  std::array<std::byte, 144> measurement;
  std::span<const abi::kvm_cpuid_entry2> cpuid;
};

class Vm : public std::enable_shared_from_this<Vm> {
 public:
  Vm(std::shared_ptr<System> system, UniqueFd fd);
  ~Vm();
  Vm(const Vm&) = delete;
  Vm& operator=(const Vm&) = delete;

  const System* system() const { return system_.get(); }
  bool closed() const { return !fd_.valid(); }
  /** Stops all vCPUs, closes them, then the guest_memfds, then the VM; then its slots let go of their memory. */
  void Close() noexcept;

  int CheckExtension(uint32_t capability) const {
    return static_cast<int>(Issue(fd(), request::kCheckExtension, capability));
  }
  void EnableCap(uint32_t capability, uint32_t flags, const std::array<uint64_t, 4>& args);
  /** `on_run_done` is called on the vCPU's thread whenever a run has ended. @throws StateError for a repeated id. */
  std::shared_ptr<Vcpu> CreateVcpu(uint32_t id, std::function<void()> on_run_done);
  void SetTscKhz(uint32_t khz);
  uint32_t GetTscKhz() const;
  void SetUserMemoryRegion(const MemorySlot& slot);
  void SetUserMemoryRegion2(const MemorySlot& slot);
  std::shared_ptr<GuestMemfd> CreateGuestMemfd(uint64_t size, uint64_t flags);
  void SetMemoryAttributes(uint64_t gpa, uint64_t size, uint64_t attributes);
  void SetTssAddr(uint64_t gpa);
  void SetIdentityMapAddr(uint64_t gpa);
  /** KVM_X86_SET_MSR_FILTER. @throws ArgumentError for too many ranges or a bitmap of another length. */
  void SetMsrFilter(uint32_t flags, std::span<const MsrFilterRange> ranges);

  TdxCapabilities GetTdxCapabilities() const;
  void InitTdx(const TdxInitVm& params);
  void FinalizeTdx();
  /** False where the kernel does not know the command. */
  bool TerminateTdx();

 private:
  int fd() const {
    if (closed()) ThrowClosed("the VM");
    return fd_.get();
  }
  /** What the kernel is told and what must outlive it. */
  struct Backing {
    std::shared_ptr<const Mapping> pages;
    uint64_t address = 0;
  };
  /** The pages behind a slot, never any other of this process's. */
  Backing BackingOf(const MemorySlot& slot) const;
  template <typename Region>
  void SetRegion(const Request& request, Region& region, const MemorySlot& slot);

  std::shared_ptr<System> system_;
  UniqueFd fd_;
  Children<Vcpu> vcpus_;
  Children<GuestMemfd> memfds_;
  /** Ids that exist in the kernel: a vCPU lives as long as its VM, whatever happens to its descriptor. */
  std::set<uint32_t> vcpu_ids_;
  /** What the guest can reach, by slot. */
  std::map<uint32_t, std::shared_ptr<const Mapping>> slots_;
};

}  // namespace kvmtdx
