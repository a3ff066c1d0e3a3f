// The system calls of this project, all of them. A failed call keeps its errno in the result, so nothing that runs in
// between can overwrite it. native/test/fake_kernel.cc implements the same functions on a scripted kernel.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kvmtdx::sys {

struct Result {
  /** What the call returned, -1 on failure. */
  long value;
  /** errno at the moment of failure, 0 otherwise. */
  int error;

  bool ok() const { return error == 0; }
};

Result Open(const char* path);
Result Close(int fd);
Result SetCloseOnExec(int fd);

/** `argument` is a number or the address of the request's struct; the caller guarantees that the struct is the
 * request's. */
Result Ioctl(int fd, unsigned long request, uint64_t argument);

/** Private anonymous memory, not reserved in advance. `accessible` false gives pages that nobody can touch. */
Result MapAnonymous(std::size_t size, bool accessible);
/** The first `size` bytes of a descriptor, shared. */
Result MapShared(int fd, std::size_t size);
Result Unmap(void* start, std::size_t size);
/** MADV_DONTNEED: anonymous pages read as zero afterwards. */
Result Discard(void* start, std::size_t size);
/** fallocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE). */
Result PunchHole(int fd, uint64_t offset, uint64_t length);

/** Lets others run: first yields, then sleeps a millisecond a time. */
void Pause(unsigned attempt);

}  // namespace kvmtdx::sys
