// The functions of libc that a program calls instead of libc's: what is KVM's goes to the model, all else straight on.
#include <fcntl.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstdarg>
#include <cstdlib>
#include <ctime>

#include "call.hpp"
#include "channel.hpp"
#include "descriptors.hpp"
#include "libc.hpp"
#include "object.hpp"
#include "path.hpp"
#include "poll.hpp"
#include "server.hpp"

namespace kvmtdx::preload {
namespace {

__attribute__((constructor)) void Start() {
  RealLibc();
  server.Set(getenv("KVM_TDX_MOCK"));
  if (server.known()) PrepareChannels();
}

/** From the kernel's way of saying it to libc's. */
template <typename T = int>
T Returned(long result) {
  if (!IsError(result)) return static_cast<T>(result);
  errno = static_cast<int>(-result);
  return static_cast<T>(-1);
}

bool OpensKvm(int folder, const char* path, int flags) {
  return server.known() && (flags & O_PATH) == 0 && IsDevKvm(folder, path);
}

int OpenModel(int flags) {
  // What the kernel says of a device that is there.
  if ((flags & O_CREAT) != 0 && (flags & O_EXCL) != 0) return Returned(-EEXIST);
  if ((flags & O_DIRECTORY) != 0) return Returned(-ENOTDIR);
  return Returned(OpenKvm((flags & O_CLOEXEC) != 0));
}

bool TakesMode(int flags) { return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE; }

int PollFor(pollfd* list, nfds_t count, int milliseconds) {
  if (__builtin_expect(!MayHaveKvm(list, count), 1)) return RealLibc().poll(list, count, milliseconds);
  const timespec timeout{milliseconds / 1000, milliseconds % 1000 * 1000000L};
  return PollWithKvm(list, count, milliseconds < 0 ? nullptr : &timeout, nullptr);
}

int PpollFor(pollfd* list, nfds_t count, const timespec* timeout, const sigset_t* mask) {
  if (__builtin_expect(!MayHaveKvm(list, count), 1)) return RealLibc().ppoll(list, count, timeout, mask);
  return PollWithKvm(list, count, timeout, mask);
}

/** What the kernel's copying functions give a descriptor for. */
int Copy(int from, int to) {
  if (to >= 0) Copied(from, to);
  return to;
}

constexpr unsigned long kKvm = 0xAE;

}  // namespace

// Named in assembler, so that libc's declarations, which differ between versions, do not matter.
#define TAKE_OVER(type, name, ours)                                          \
  extern "C" __attribute__((visibility("default"))) type ours __asm__(name); \
  type ours

// The third argument of open(), where `flags` say that there is one.
#define TAKE_MODE                \
  mode_t mode = 0;               \
  if (TakesMode(flags)) {        \
    va_list rest;                \
    va_start(rest, flags);       \
    mode = va_arg(rest, mode_t); \
    va_end(rest);                \
  }

TAKE_OVER(int, "open", OurOpen(const char* path, int flags, ...)) {
  TAKE_MODE
  return OpensKvm(AT_FDCWD, path, flags) ? OpenModel(flags) : RealLibc().open(path, flags, mode);
}

TAKE_OVER(int, "open64", OurOpen64(const char* path, int flags, ...)) {
  TAKE_MODE
  return OpensKvm(AT_FDCWD, path, flags) ? OpenModel(flags) : RealLibc().open(path, flags, mode);
}

TAKE_OVER(int, "openat", OurOpenAt(int folder, const char* path, int flags, ...)) {
  TAKE_MODE
  return OpensKvm(folder, path, flags) ? OpenModel(flags) : RealLibc().openat(folder, path, flags, mode);
}

TAKE_OVER(int, "openat64", OurOpenAt64(int folder, const char* path, int flags, ...)) {
  TAKE_MODE
  return OpensKvm(folder, path, flags) ? OpenModel(flags) : RealLibc().openat(folder, path, flags, mode);
}

// Of programs built with _FORTIFY_SOURCE.
TAKE_OVER(int, "__open_2", OurOpen2(const char* path, int flags)) {
  return OpensKvm(AT_FDCWD, path, flags) ? OpenModel(flags) : RealLibc().open_2(path, flags);
}

TAKE_OVER(int, "__open64_2", OurOpen642(const char* path, int flags)) { return OurOpen2(path, flags); }

TAKE_OVER(int, "__openat_2", OurOpenAt2(int folder, const char* path, int flags)) {
  return OpensKvm(folder, path, flags) ? OpenModel(flags) : RealLibc().openat_2(folder, path, flags);
}

TAKE_OVER(int, "__openat64_2", OurOpenAt642(int folder, const char* path, int flags)) {
  return OurOpenAt2(folder, path, flags);
}

TAKE_OVER(int, "ioctl", OurIoctl(int descriptor, unsigned long request, ...)) {
  va_list rest;
  va_start(rest, request);
  void* const argument = va_arg(rest, void*);
  va_end(rest);
  // A request of another type can only be meant for KVM by mistake.
  if (__builtin_expect((request >> 8 & 0xff) == kKvm || Known(descriptor), 0) && server.known()) {
    const uint64_t object = ObjectOf(descriptor);
    if (object != 0) {
      Remember(descriptor);
      return Returned(Ioctl(descriptor, object, static_cast<uint32_t>(request), reinterpret_cast<uint64_t>(argument)));
    }
  }
  return RealLibc().ioctl(descriptor, request, argument);
}

TAKE_OVER(void*, "mmap",
          OurMmap(void* address, size_t length, int protection, int flags, int descriptor, off_t offset)) {
  if (descriptor >= 0 && (flags & MAP_ANONYMOUS) == 0 && server.known()) {
    const uint64_t object = ObjectOf(descriptor);
    if (object != 0) {
      return reinterpret_cast<void*>(Returned<long>(Map(object, address, length, protection, flags, offset)));
    }
  }
  return RealLibc().mmap(address, length, protection, flags, descriptor, offset);
}

TAKE_OVER(void*, "mmap64",
          OurMmap64(void* address, size_t length, int protection, int flags, int descriptor, off_t offset)) {
  return OurMmap(address, length, protection, flags, descriptor, offset);
}

// munmap() needs nothing: the page of a vCPU is a mapped file.

TAKE_OVER(int, "close", OurClose(int descriptor)) {
  Forget(descriptor);
  return RealLibc().close(descriptor);
}

TAKE_OVER(int, "dup", OurDup(int from)) { return Copy(from, RealLibc().dup(from)); }

TAKE_OVER(int, "dup2", OurDup2(int from, int to)) { return Copy(from, RealLibc().dup2(from, to)); }

TAKE_OVER(int, "dup3", OurDup3(int from, int to, int flags)) { return Copy(from, RealLibc().dup3(from, to, flags)); }

TAKE_OVER(int, "fcntl", OurFcntl(int descriptor, int command, ...)) {
  va_list rest;
  va_start(rest, command);
  void* const argument = va_arg(rest, void*);
  va_end(rest);
  const int result = RealLibc().fcntl(descriptor, command, argument);
  if (command == F_DUPFD || command == F_DUPFD_CLOEXEC) Copy(descriptor, result);
  return result;
}

TAKE_OVER(int, "fcntl64", OurFcntl64(int descriptor, int command, ...)) {
  va_list rest;
  va_start(rest, command);
  void* const argument = va_arg(rest, void*);
  va_end(rest);
  return OurFcntl(descriptor, command, argument);
}

TAKE_OVER(int, "poll", OurPoll(pollfd* list, nfds_t count, int milliseconds)) {
  return PollFor(list, count, milliseconds);
}

TAKE_OVER(int, "__poll_chk", OurPollChk(pollfd* list, nfds_t count, int milliseconds, size_t size)) {
  if (size / sizeof *list < count) abort();
  return PollFor(list, count, milliseconds);
}

TAKE_OVER(int, "ppoll", OurPpoll(pollfd* list, nfds_t count, const timespec* timeout, const sigset_t* mask)) {
  return PpollFor(list, count, timeout, mask);
}

TAKE_OVER(int, "__ppoll_chk",
          OurPpollChk(pollfd* list, nfds_t count, const timespec* timeout, const sigset_t* mask, size_t size)) {
  if (size / sizeof *list < count) abort();
  return PpollFor(list, count, timeout, mask);
}

// A file without a poll of its own cannot be watched by epoll.
TAKE_OVER(int, "epoll_ctl", OurEpollCtl(int epoll, int operation, int descriptor, epoll_event* event)) {
  if (operation == EPOLL_CTL_ADD && Known(descriptor) && ObjectOf(descriptor) != 0) return Returned(-EPERM);
  return RealLibc().epoll_ctl(epoll, operation, descriptor, event);
}

TAKE_OVER(int, "fallocate", OurFallocate(int descriptor, int mode, off_t offset, off_t length)) {
  const uint64_t object = server.known() ? ObjectOf(descriptor) : 0;
  if (object != 0) return Returned(Fallocate(object, mode, offset, length));
  return RealLibc().fallocate(descriptor, mode, offset, length);
}

TAKE_OVER(int, "fallocate64", OurFallocate64(int descriptor, int mode, off_t offset, off_t length)) {
  return OurFallocate(descriptor, mode, offset, length);
}

}  // namespace kvmtdx::preload
