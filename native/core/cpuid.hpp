// Structs of the interface that end in a list of CPUID entries.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "abi.hpp"
#include "error.hpp"

namespace kvmtdx {

using CpuidEntries = std::vector<abi::kvm_cpuid_entry2>;

/** First size tried, and the size beyond which E2BIG is believed. KVM itself never has more than 256 entries. */
inline constexpr uint32_t kFirstCpuidEntries = 64;
inline constexpr uint32_t kMostCpuidEntries = 4096;

/** A zeroed `Header` whose last member is the kvm_cpuid2, followed by room for `capacity` entries. */
template <typename Header>
class WithEntries {
 public:
  explicit WithEntries(uint32_t capacity)
      : capacity_(capacity),
        bytes_(std::make_unique<std::byte[]>(sizeof(Header) + capacity * sizeof(abi::kvm_cpuid_entry2))) {
    list()->nent = capacity;
  }
  explicit WithEntries(std::span<const abi::kvm_cpuid_entry2> entries)
      : WithEntries(static_cast<uint32_t>(entries.size())) {
    std::copy(entries.begin(), entries.end(), first());
  }

  // The array new of bytes is aligned for any of these structs and as long as its header and entries.
  Header* header() { return reinterpret_cast<Header*>(bytes_.get()); }
  uint64_t address() { return reinterpret_cast<uint64_t>(bytes_.get()); }
  /** What nent says; after a call, what the kernel wrote. */
  uint32_t nent() { return list()->nent; }
  /** The entries that the kernel filled, never more than there is room for. */
  CpuidEntries Entries() { return {first(), first() + std::min(nent(), capacity_)}; }

 private:
  abi::kvm_cpuid2* list() {
    return reinterpret_cast<abi::kvm_cpuid2*>(bytes_.get() + sizeof(Header) - sizeof(abi::kvm_cpuid2));
  }
  abi::kvm_cpuid_entry2* first() { return reinterpret_cast<abi::kvm_cpuid_entry2*>(bytes_.get() + sizeof(Header)); }

  uint32_t capacity_ = 0;
  std::unique_ptr<std::byte[]> bytes_;
};

/**
 * Asks with more and more room until the answer fits. KVM_TDX_CAPABILITIES and KVM_GET_SUPPORTED_CPUID do not say how
 * many entries they need, so the room doubles; KVM_TDX_GET_CPUID writes the number into nent.
 */
template <typename Header, typename Ask>
WithEntries<Header> Grow(Ask ask) {
  for (uint32_t capacity = kFirstCpuidEntries;;) {
    WithEntries<Header> answer(capacity);
    try {
      ask(answer);
      return answer;
    } catch (const SysError& refused) {
      if (refused.error != E2BIG || capacity >= kMostCpuidEntries) throw;
      const uint32_t wanted = answer.nent() > capacity ? answer.nent() : capacity * 2;
      capacity = std::min(wanted, kMostCpuidEntries);
    }
  }
}

}  // namespace kvmtdx
