#include "vm.hpp"

#include <string>
#include <utility>

#include "error.hpp"
#include "request.hpp"
#include "sys.hpp"
#include "system.hpp"
#include "vcpu.hpp"

namespace kvmtdx {

Vm::Vm(std::shared_ptr<System> system, UniqueFd fd) : system_(std::move(system)), fd_(std::move(fd)) {}

Vm::~Vm() { Close(); }

void Vm::Close() noexcept {
  vcpus_.ForEach([](Vcpu& vcpu) { vcpu.Interrupt(); });
  vcpus_.CloseAll();
  memfds_.CloseAll();
  fd_.Reset();
  slots_.clear();
}

void Vm::EnableCap(uint32_t capability, uint32_t flags, const std::array<uint64_t, 4>& args) {
  abi::kvm_enable_cap cap{};
  cap.cap = capability;
  cap.flags = flags;
  std::copy(args.begin(), args.end(), cap.args);
  IssueWith(fd(), request::kEnableCap, &cap);
}

std::shared_ptr<Vcpu> Vm::CreateVcpu(uint32_t id, std::function<void()> on_run_done) {
  const int vm_fd = fd();
  const auto size = static_cast<std::size_t>(system_->GetVcpuMmapSize());
  // A second vCPU of the same id corrupts the lists of a TDX kernel on its way to EEXIST, so it is never asked for one.
  const auto [entry, fresh] = vcpu_ids_.insert(id);
  if (!fresh) {
    throw StateError(StateError::Kind::kDuplicateVcpu, "vCPU " + std::to_string(id) + " exists in this VM already");
  }
  UniqueFd vcpu_fd;
  try {
    vcpu_fd = UniqueFd(static_cast<int>(Issue(vm_fd, request::kCreateVcpu, id)));
  } catch (...) {
    vcpu_ids_.erase(entry);
    throw;
  }
  auto vcpu = std::make_shared<Vcpu>(shared_from_this(), std::move(vcpu_fd), size, std::move(on_run_done));
  vcpus_.Add(vcpu);
  return vcpu;
}

void Vm::SetTscKhz(uint32_t khz) { Issue(fd(), request::kSetTscKhz, khz); }

uint32_t Vm::GetTscKhz() const { return static_cast<uint32_t>(Issue(fd(), request::kGetTscKhz)); }

Vm::Backing Vm::BackingOf(const MemorySlot& slot) const {
  if (slot.size == 0) return {};
  if (slot.memory == nullptr) {
    // A slot without memory would make the guest's addresses ours, from 0 on. It gets addresses that fault instead.
    auto pages = std::make_shared<const Mapping>(Mapping::Reserved(slot.size));
    return {pages, pages->address()};
  }
  if (slot.memory->system() != system_.get()) {
    throw StateError(StateError::Kind::kForeignObject, "the guest memory belongs to another system than the VM");
  }
  const auto& pages = slot.memory->mapping();
  if (!pages->Contains(slot.memory_offset, slot.size)) {
    ThrowRange("memoryOffset " + std::to_string(slot.memory_offset) + " with size " + std::to_string(slot.size) +
               " is outside the memory of " + std::to_string(pages->size()) + " bytes");
  }
  return {pages, pages->address() + slot.memory_offset};
}

template <typename Region>
void Vm::SetRegion(const Request& request, Region& region, const MemorySlot& slot) {
  const int vm_fd = fd();
  Backing backing = BackingOf(slot);
  auto& kept = slots_[slot.slot];  // made first: nothing may fail once the kernel has taken the slot
  region.slot = slot.slot;
  region.flags = slot.flags;
  region.guest_phys_addr = slot.gpa;
  region.memory_size = slot.size;
  region.userspace_addr = backing.address;
  IssueWith(vm_fd, request, &region);
  kept = std::move(backing.pages);  // the old pages go only now that the kernel has stopped using them
}

void Vm::SetUserMemoryRegion(const MemorySlot& slot) {
  abi::kvm_userspace_memory_region region{};
  SetRegion(request::kSetUserMemoryRegion, region, slot);
}

void Vm::SetUserMemoryRegion2(const MemorySlot& slot) {
  abi::kvm_userspace_memory_region2 region{};
  fd();  // what is closed is told before what is foreign
  region.guest_memfd = UINT32_MAX;  // no descriptor: with KVM_MEM_GUEST_MEMFD the kernel refuses it
  if (slot.guest_memfd != nullptr) {
    if (slot.guest_memfd->vm() != this) {
      throw StateError(StateError::Kind::kForeignObject, "the guest_memfd belongs to another VM");
    }
    region.guest_memfd = static_cast<uint32_t>(slot.guest_memfd->fd());
    region.guest_memfd_offset = slot.guest_memfd_offset;
  }
  SetRegion(request::kSetUserMemoryRegion2, region, slot);
}

std::shared_ptr<GuestMemfd> Vm::CreateGuestMemfd(uint64_t size, uint64_t flags) {
  abi::kvm_create_guest_memfd create{};
  create.size = size;
  create.flags = flags;
  UniqueFd memfd(static_cast<int>(IssueWith(fd(), request::kCreateGuestMemfd, &create)));
  sys::SetCloseOnExec(memfd.get());  // the kernel leaves it to us, unlike for its other descriptors
  auto result = std::make_shared<GuestMemfd>(shared_from_this(), std::move(memfd), size);
  memfds_.Add(result);
  return result;
}

void Vm::SetMemoryAttributes(uint64_t gpa, uint64_t size, uint64_t attributes) {
  abi::kvm_memory_attributes change{.address = gpa, .size = size, .attributes = attributes, .flags = 0};
  IssueWith(fd(), request::kSetMemoryAttributes, &change);
}

void Vm::SetTssAddr(uint64_t gpa) { Issue(fd(), request::kSetTssAddr, gpa); }

void Vm::SetIdentityMapAddr(uint64_t gpa) { IssueWith(fd(), request::kSetIdentityMapAddr, &gpa); }

// The kernel copies the bitmaps during the call; their lengths are checked, for it takes the length from nmsrs, in whole longs.
void Vm::SetMsrFilter(uint32_t flags, std::span<const MsrFilterRange> ranges) {
  if (ranges.size() > abi::kMaxMsrFilterRanges) {
    ThrowRange("an MSR filter has at most 16 ranges, got " + std::to_string(ranges.size()));
  }
  abi::kvm_msr_filter filter{};
  filter.flags = flags;
  for (std::size_t i = 0; i < ranges.size(); i++) {
    const MsrFilterRange& range = ranges[i];
    if (range.bitmap.size() != range.BitmapBytes()) {
      ThrowRange("ranges[" + std::to_string(i) + "] of " + std::to_string(range.nmsrs) +
                 " MSRs has a bitmap of another length");
    }
    filter.ranges[i] = {range.flags, range.nmsrs, range.base, range.bitmap.data()};
  }
  IssueWith(fd(), request::kX86SetMsrFilter, &filter);
}

}  // namespace kvmtdx
