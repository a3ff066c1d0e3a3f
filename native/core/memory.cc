#include "memory.hpp"

#include <cstring>
#include <string>

#include "abi.hpp"
#include "error.hpp"
#include "sys.hpp"

namespace kvmtdx {
namespace {

bool PageAligned(uint64_t value) { return value % abi::kPageSize == 0; }

}  // namespace

GuestMemory::GuestMemory(std::shared_ptr<System> system, uint64_t size) : system_(std::move(system)), size_(size) {
  if (size == 0 || !PageAligned(size)) {
    ThrowRange("size must be a positive multiple of 4096 bytes, got " + std::to_string(size));
  }
  mapping_ = std::make_shared<const Mapping>(Mapping::Anonymous(size));
}

const std::shared_ptr<const Mapping>& GuestMemory::mapping() const {
  if (closed()) ThrowClosed("the guest memory");
  return mapping_;
}

const Mapping& GuestMemory::Checked(uint64_t offset, uint64_t length) const {
  const Mapping& pages = *mapping();
  if (!pages.Contains(offset, length)) {
    ThrowRange("offset " + std::to_string(offset) + " with " + std::to_string(length) +
               " bytes is outside the memory of " + std::to_string(size_) + " bytes");
  }
  return pages;
}

// The copies are inside the mapping (Checked) and the JavaScript side is a span of memory that its caller owns. Private
// anonymous pages are always readable and writable, so neither can fault.
void GuestMemory::Read(uint64_t offset, std::span<std::byte> into) const {
  const Mapping& pages = Checked(offset, into.size());
  if (!into.empty()) std::memcpy(into.data(), pages.start() + offset, into.size());
}

void GuestMemory::Write(uint64_t offset, std::span<const std::byte> bytes) {
  const Mapping& pages = Checked(offset, bytes.size());
  if (!bytes.empty()) std::memmove(pages.start() + offset, bytes.data(), bytes.size());
}

void GuestMemory::Discard(uint64_t offset, uint64_t length) {
  const Mapping& pages = Checked(offset, length);
  // madvise() would round the length up.
  if (!PageAligned(offset) || !PageAligned(length)) {
    ThrowRange("offset and length must be multiples of 4096 bytes, got " + std::to_string(offset) + " and " +
               std::to_string(length));
  }
  if (length == 0) return;
  const sys::Result result = sys::Discard(pages.start() + offset, length);
  if (!result.ok()) throw SysError(result.error, "madvise", "MADV_DONTNEED");
}

GuestMemfd::GuestMemfd(std::shared_ptr<Vm> vm, UniqueFd fd, uint64_t size)
    : vm_(std::move(vm)), fd_(std::move(fd)), size_(size) {}

int GuestMemfd::fd() const {
  if (closed()) ThrowClosed("the guest_memfd");
  return fd_.get();
}

void GuestMemfd::PunchHole(uint64_t offset, uint64_t length) const {
  const sys::Result result = sys::PunchHole(fd(), offset, length);
  if (!result.ok()) throw SysError(result.error, "fallocate", "FALLOC_FL_PUNCH_HOLE");
}

}  // namespace kvmtdx
