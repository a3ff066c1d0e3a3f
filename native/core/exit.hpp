// Exits of KVM_RUN, taken out of struct kvm_run.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "abi_run.hpp"

namespace kvmtdx {

using Bytes = std::vector<uint8_t>;

struct IoExit {
  bool out;
  uint8_t size;
  uint16_t port;
  uint32_t count;
  /** Written bytes, empty for `in`. */
  Bytes data;
};
struct MmioExit {
  uint64_t gpa;
  bool is_write;
  /** For a read as many zeros as are wanted. */
  Bytes data;
};
struct HltExit {};
struct ShutdownExit {};
struct HypercallExit {
  uint64_t nr;
  std::array<uint64_t, 6> args;
  uint64_t flags;
};
struct MemoryFaultExit {
  uint64_t flags;
  uint64_t gpa;
  uint64_t size;
};
struct SystemEventExit {
  uint32_t type;
  std::vector<uint64_t> data;
};
struct TdxExit {
  uint64_t nr;
  uint64_t flags;
  /** The sub-function's own two arguments: gpa and size, leaf, or vector. */
  uint64_t first;
  uint64_t second;
};
struct MsrExit {
  bool write;
  uint32_t reason;
  uint32_t index;
  /** 0 for a read. */
  uint64_t data;
};
struct InternalErrorExit {
  uint32_t suberror;
  std::vector<uint64_t> data;
};
struct FailEntryExit {
  uint64_t hardware_entry_failure_reason;
  uint32_t cpu;
};
struct IrqWindowOpenExit {};
struct IntrExit {};
struct UnknownExit {
  uint32_t exit_reason;
};

using Exit = std::variant<IoExit, MmioExit, HltExit, ShutdownExit, HypercallExit, MemoryFaultExit, SystemEventExit,
                          TdxExit, MsrExit, InternalErrorExit, FailEntryExit, IrqWindowOpenExit, IntrExit, UnknownExit>;

/** The pages that a vCPU shares with the kernel: at least one struct kvm_run, and port data behind it. */
class RunPages {
 public:
  explicit RunPages(std::span<std::byte> pages) : pages_(pages) {}

  abi::kvm_run& run() const { return *reinterpret_cast<abi::kvm_run*>(pages_.data()); }
  /** The data of the port exit, size * count bytes; empty if the exit says it lies elsewhere than in these pages. */
  std::span<uint8_t> PortData() const;
  /** The data of the MMIO exit, at most 8 bytes. */
  std::span<uint8_t> MmioData() const;

 private:
  std::span<std::byte> pages_;
};

/** Total: whatever the pages hold, nothing outside them is read. What makes no sense is an UnknownExit. */
Exit DecodeExit(const RunPages& pages);

}  // namespace kvmtdx
