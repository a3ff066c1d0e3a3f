// Port accesses that a vCPU's thread answers by itself.
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "exit.hpp"

namespace kvmtdx {

struct PortRange {
  uint16_t first;
  uint16_t last;
  /** What a read gives, each byte. */
  uint8_t read_byte;
  /** Keep what is written. */
  bool gather;
};

/** Bytes that a guest wrote, oldest first. Filled by the vCPU's thread, taken by the owner's. */
class PortOutput {
 public:
  /** A guest that writes without end must not take all memory; beyond this its exits go to the owner. */
  static constexpr std::size_t kMost = std::size_t{1} << 20;

  /** All of the bytes or, if they do not fit, none: false. */
  bool Append(std::span<const uint8_t> bytes);
  Bytes Take();

 private:
  std::mutex mutex_;
  Bytes bytes_;
};

/** Answers the port exit in `pages` if one of `ranges` has its port, and there is room for what it writes. */
bool AnswerPort(const std::vector<PortRange>& ranges, const RunPages& pages, PortOutput& output);

}  // namespace kvmtdx
