#include "memory.hpp"

#include <sys/uio.h>

#include <algorithm>

#include "raw.hpp"

namespace kvmtdx::preload {
namespace {

/** User space ends below; above it the kernel's own arithmetic could wrap. */
constexpr uint64_t kEnd = uint64_t{1} << 56;

/** One try of process_vm_readv or process_vm_writev on this very process; 0 where nothing moved. */
size_t Move(long call, uint64_t address, uint8_t* here, size_t length) {
  iovec local{here, length};
  iovec remote{reinterpret_cast<void*>(address), length};
  const long moved = Raw(call, Raw(SYS_getpid), &local, 1, &remote, 1, 0);
  return moved > 0 ? static_cast<size_t>(moved) : 0;
}

size_t Transfer(long call, uint64_t address, uint8_t* here, size_t length) {
  if (length == 0 || address >= kEnd) return 0;
  size_t done = Move(call, address, here, length);
  // A transfer may give up some pages before the bad one; page by page it is found.
  while (done < length) {
    const uint64_t at = address + done;
    const size_t step = std::min(length - done, kPageSize - at % kPageSize);
    const size_t moved = Move(call, at, here + done, step);
    done += moved;
    if (moved < step) break;
  }
  return done;
}

}  // namespace

size_t ReadOwn(uint64_t address, void* into, size_t length) {
  return Transfer(SYS_process_vm_readv, address, static_cast<uint8_t*>(into), length);
}

bool WriteOwn(uint64_t address, const void* from, size_t length) {
  return Transfer(SYS_process_vm_writev, address, static_cast<uint8_t*>(const_cast<void*>(from)), length) == length;
}

}  // namespace kvmtdx::preload
