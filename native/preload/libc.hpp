// libc's own functions behind the ones this library takes over.
#pragma once

#include <poll.h>
#include <sys/epoll.h>
#include <sys/types.h>

#include <csignal>
#include <cstdint>
#include <ctime>

namespace kvmtdx::preload {

struct Libc {
  int (*open)(const char*, int, ...);
  int (*openat)(int, const char*, int, ...);
  int (*open_2)(const char*, int);
  int (*openat_2)(int, const char*, int);
  int (*ioctl)(int, unsigned long, ...);
  void* (*mmap)(void*, size_t, int, int, int, off_t);
  int (*close)(int);
  int (*dup)(int);
  int (*dup2)(int, int);
  int (*dup3)(int, int, int);
  int (*fcntl)(int, int, ...);
  int (*poll)(pollfd*, nfds_t, int);
  int (*ppoll)(pollfd*, nfds_t, const timespec*, const sigset_t*);
  int (*epoll_ctl)(int, int, int, epoll_event*);
  int (*fallocate)(int, int, off_t, off_t);
};

/** Found on first use, which may be before this library's constructor runs. */
const Libc& RealLibc();

}  // namespace kvmtdx::preload
