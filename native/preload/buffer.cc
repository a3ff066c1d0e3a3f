#include "buffer.hpp"

#include <sys/mman.h>

namespace kvmtdx::preload {
namespace {

constexpr size_t kFirst = 16 * kPageSize;

}  // namespace

bool Buffer::Reserve(size_t size) {
  if (size <= capacity_) return true;
  size_t wanted = capacity_ == 0 ? kFirst : capacity_;
  while (wanted < size) wanted *= 2;
  const long at = capacity_ == 0 ? Raw(SYS_mmap, 0, wanted, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                                 : Raw(SYS_mremap, data_, capacity_, wanted, MREMAP_MAYMOVE, 0);
  if (IsError(at)) return false;
  data_ = reinterpret_cast<uint8_t*>(at);
  capacity_ = wanted;
  return true;
}

void Buffer::Release() {
  if (capacity_ != 0) Raw(SYS_munmap, data_, capacity_);
  data_ = nullptr;
  size_ = capacity_ = 0;
}

}  // namespace kvmtdx::preload
