#include "poll.hpp"

#include <sys/mman.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "descriptors.hpp"
#include "libc.hpp"
#include "object.hpp"
#include "raw.hpp"

namespace kvmtdx::preload {
namespace {

constexpr short kReady = POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;

/** A copy of the list without the KVM descriptors: the caller's own must stay as it is while others may look. */
class Others {
 public:
  Others(const pollfd* list, nfds_t count) : count_(count) {
    if (count > sizeof few_ / sizeof *few_) {
      const long at = Raw(SYS_mmap, 0, Size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      list_ = IsError(at) ? nullptr : reinterpret_cast<pollfd*>(at);
    }
    if (list_ != nullptr) std::memcpy(list_, list, Size());
  }
  ~Others() {
    if (list_ != nullptr && list_ != few_) Raw(SYS_munmap, list_, Size());
  }
  Others(const Others&) = delete;
  Others& operator=(const Others&) = delete;

  pollfd* list() { return list_; }

 private:
  size_t Size() const { return count_ * sizeof(pollfd); }

  nfds_t count_;
  pollfd few_[32]{};
  pollfd* list_ = few_;
};

}  // namespace

bool MayHaveKvm(const pollfd* list, nfds_t count) {
  if (!AnyKnown()) return false;
  for (nfds_t i = 0; i < count; i++) {
    if (Known(list[i].fd)) return true;
  }
  return false;
}

int PollWithKvm(pollfd* list, nfds_t count, const timespec* timeout, const sigset_t* mask) {
  Others others(list, count);
  if (others.list() == nullptr) {
    errno = ENOMEM;
    return -1;
  }
  int ready = 0;
  for (nfds_t i = 0; i < count; i++) {
    pollfd& entry = others.list()[i];
    if (entry.fd < 0 || !Known(entry.fd) || ObjectOf(entry.fd) == 0) continue;
    entry.fd = -1;
    if ((entry.events & kReady) != 0) ready++;
  }
  constexpr timespec kAtOnce{};
  const int result = RealLibc().ppoll(others.list(), count, ready != 0 ? &kAtOnce : timeout, mask);
  if (result < 0) return result;
  for (nfds_t i = 0; i < count; i++) {
    const pollfd& entry = others.list()[i];
    list[i].revents = entry.fd == list[i].fd ? entry.revents : static_cast<short>(list[i].events & kReady);
  }
  return result + ready;
}

}  // namespace kvmtdx::preload
