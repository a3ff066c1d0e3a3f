#include "sys.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

namespace kvmtdx::sys {
namespace {

Result Done(long value) { return value == -1 ? Result{-1, errno} : Result{value, 0}; }

Result Mapped(void* start) {
  return start == MAP_FAILED ? Result{-1, errno} : Result{reinterpret_cast<long>(start), 0};
}

constexpr unsigned kYields = 10;
constexpr timespec kMillisecond{0, 1'000'000};

}  // namespace

Result Open(const char* path) { return Done(open(path, O_RDWR | O_CLOEXEC)); }
Result Close(int fd) { return Done(close(fd)); }
Result SetCloseOnExec(int fd) { return Done(fcntl(fd, F_SETFD, FD_CLOEXEC)); }

// Safe as far as `argument` is what the request expects; request.hpp is the only caller.
Result Ioctl(int fd, unsigned long request, uint64_t argument) { return Done(ioctl(fd, request, argument)); }

Result MapAnonymous(std::size_t size, bool accessible) {
  const int protection = accessible ? PROT_READ | PROT_WRITE : PROT_NONE;
  return Mapped(mmap(nullptr, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
}

Result MapShared(int fd, std::size_t size) {
  return Mapped(mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
}

Result Unmap(void* start, std::size_t size) { return Done(munmap(start, size)); }
Result Discard(void* start, std::size_t size) { return Done(madvise(start, size, MADV_DONTNEED)); }

Result PunchHole(int fd, uint64_t offset, uint64_t length) {
  return Done(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                        static_cast<off_t>(length)));
}

void Pause(unsigned attempt) {
  if (attempt < kYields) {
    sched_yield();
  } else {
    nanosleep(&kMillisecond, nullptr);
  }
}

}  // namespace kvmtdx::sys
