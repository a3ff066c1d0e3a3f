#include "owned.hpp"

#include "error.hpp"
#include "sys.hpp"

namespace kvmtdx {
namespace {

std::byte* Start(const sys::Result& mapped, const char* what) {
  if (!mapped.ok()) throw SysError(mapped.error, "mmap", what);
  return reinterpret_cast<std::byte*>(mapped.value);
}

}  // namespace

// close() releases the descriptor whatever it returns: a second try could hit somebody else's.
void UniqueFd::Reset() noexcept {
  if (valid()) sys::Close(std::exchange(fd_, -1));
}

Mapping Mapping::Anonymous(std::size_t size) { return {Start(sys::MapAnonymous(size, true), "guest memory"), size}; }

Mapping Mapping::Reserved(std::size_t size) {
  return {Start(sys::MapAnonymous(size, false), "slot without memory"), size};
}

Mapping Mapping::Shared(int fd, std::size_t size, const char* what) {
  return {Start(sys::MapShared(fd, size), what), size};
}

// start_ and size_ are those of one successful mmap that no one else unmaps.
void Mapping::Reset() noexcept {
  if (valid()) sys::Unmap(std::exchange(start_, nullptr), std::exchange(size_, 0));
}

}  // namespace kvmtdx
