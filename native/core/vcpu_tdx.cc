// The sub-commands of KVM_MEMORY_ENCRYPT_OP that go to a TD's vCPU descriptor. The kernel gives back no hw_error here.
#include <cerrno>
#include <string>

#include "abi_tdx.hpp"
#include "error.hpp"
#include "request.hpp"
#include "sys.hpp"
#include "vcpu.hpp"
#include "vm.hpp"

namespace kvmtdx {

void Vcpu::InitTdx(uint64_t rcx) {
  Issue(fd(), TdxCommand{.request = request::kTdxInitVcpu, .id = abi::kTdxInitVcpu, .data = rcx});
}

void Vcpu::InitMemRegion(const GuestMemory& source, uint64_t offset, uint64_t gpa, uint64_t nr_pages, bool measure) {
  const int vcpu_fd = fd();
  if (source.system() != vm_->system()) {
    throw StateError(StateError::Kind::kForeignObject, "the source memory belongs to another system than the vCPU");
  }
  const std::shared_ptr<const Mapping>& pages = source.mapping();
  // Division, because nr_pages * 4096 can wrap. The kernel would read whatever of ours lies behind the memory.
  if (!pages->Contains(offset, 0) || nr_pages > (pages->size() - offset) / abi::kPageSize) {
    ThrowRange(std::to_string(nr_pages) + " pages from offset " + std::to_string(offset) +
               " are outside the source memory of " + std::to_string(pages->size()) + " bytes");
  }

  // The kernel advances this struct past each page that it has added, also when it then fails.
  abi::kvm_tdx_init_mem_region region{.source_addr = pages->address() + offset, .gpa = gpa, .nr_pages = nr_pages};
  const TdxCommand command{.request = request::kTdxInitMemRegion,
                           .id = abi::kTdxInitMemRegion,
                           .flags = measure ? abi::kTdxMeasureMemoryRegion : 0,
                           .data = reinterpret_cast<uint64_t>(&region)};
  for (unsigned attempt = 0;; attempt++) {
    const uint64_t left = region.nr_pages;
    try {
      Issue(vcpu_fd, command);
      return;
    } catch (SysError& refused) {
      if (region.nr_pages != left) attempt = 0;
      const bool resumable = refused.error == EINTR || refused.error == EAGAIN;
      if (!resumable || attempt >= kInitMemRegionRetries) {
        refused.pages_done = nr_pages - region.nr_pages;
        throw;
      }
      sys::Pause(attempt);
    }
  }
}

CpuidEntries Vcpu::GetTdxCpuid() const {
  return Grow<abi::kvm_cpuid2>([this](auto& list) {
           Issue(fd(), TdxCommand{.request = request::kTdxGetCpuid, .id = abi::kTdxGetCpuid, .data = list.address()});
         })
      .Entries();
}

}  // namespace kvmtdx
