#include "libc.hpp"

#include <dlfcn.h>

#include <atomic>

namespace kvmtdx::preload {
namespace {

constinit Libc found{};
constinit std::atomic<bool> ready = false;

template <typename Function>
void Find(Function& function, const char* name) {
  function = reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

}  // namespace

const Libc& RealLibc() {
  if (__builtin_expect(!ready.load(std::memory_order_acquire), 0)) {
    // Twice in a race, with the same result.
    Find(found.open, "open64");
    Find(found.openat, "openat64");
    Find(found.open_2, "__open64_2");
    Find(found.openat_2, "__openat64_2");
    Find(found.ioctl, "ioctl");
    Find(found.mmap, "mmap64");
    Find(found.close, "close");
    Find(found.dup, "dup");
    Find(found.dup2, "dup2");
    Find(found.dup3, "dup3");
    Find(found.fcntl, "fcntl64");
    if (found.fcntl == nullptr) Find(found.fcntl, "fcntl");
    Find(found.poll, "poll");
    Find(found.ppoll, "ppoll");
    Find(found.epoll_ctl, "epoll_ctl");
    Find(found.fallocate, "fallocate64");
    ready.store(true, std::memory_order_release);
  }
  return found;
}

}  // namespace kvmtdx::preload
