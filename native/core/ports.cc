#include "ports.hpp"

#include <algorithm>
#include <utility>

namespace kvmtdx {

bool PortOutput::Append(std::span<const uint8_t> bytes) {
  const std::lock_guard lock(mutex_);
  if (bytes.size() > kMost - bytes_.size()) return false;
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  return true;
}

Bytes PortOutput::Take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(bytes_, {});
}

bool AnswerPort(const std::vector<PortRange>& ranges, const RunPages& pages, PortOutput& output) {
  const abi::kvm_run_io& io = pages.run().io;
  const auto range = std::ranges::find_if(
      ranges, [&io](const PortRange& candidate) { return candidate.first <= io.port && io.port <= candidate.last; });
  if (range == ranges.end()) return false;
  const auto data = pages.PortData();
  if (data.empty()) return false;
  if (io.direction == abi::kIoOut) return !range->gather || output.Append(data);
  std::ranges::fill(data, range->read_byte);
  return true;
}

}  // namespace kvmtdx
