// What the next KVM_RUN hands back to the guest.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "exit.hpp"

namespace kvmtdx {

/** Of an MSR access: its value where it was a read, or that it is a #GP. */
struct MsrReply {
  bool error;
  uint64_t data;
};

struct Reply {
  std::optional<std::span<const uint8_t>> data;
  std::optional<uint64_t> ret;
  /** R11 to R14 of GetTdVmCallInfo. */
  std::optional<std::array<uint64_t, 4>> tdvmcall_info;
  std::optional<MsrReply> msr;
};

/** The answer that the exit in `pages` waits for, remembered until the next run. */
class PendingReply {
 public:
  /** Call once per exit. Unless Apply says otherwise, a read is answered with 0xff, an empty bus, an MSR access is a #GP. */
  void Expect(const RunPages& pages);
  /** Nothing is waited for any more. */
  void Clear() { kind_ = Kind::kNone; }
  /** Writes the reply into the pages. @throws ArgumentError if the exit does not take it. */
  void Apply(const Reply& reply, const RunPages& pages) const;

 private:
  enum class Kind { kNone, kPortRead, kMmioRead, kHypercall, kTdx, kTdVmCallInfo, kMsr };

  std::span<uint8_t> Data(const RunPages& pages) const;

  Kind kind_ = Kind::kNone;
};

}  // namespace kvmtdx
