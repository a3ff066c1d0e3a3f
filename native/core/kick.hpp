// The signal that brings a thread out of KVM_RUN.
#pragma once

#include <pthread.h>

#include <csignal>

namespace kvmtdx {

/**
 * Blocks every signal but the kick in this thread while it lives; a thread started meanwhile inherits that. So no
 * handler of Node's ever runs on a vCPU's thread.
 */
class OnlyKickAllowed {
 public:
  OnlyKickAllowed();
  ~OnlyKickAllowed();
  OnlyKickAllowed(const OnlyKickAllowed&) = delete;
  OnlyKickAllowed& operator=(const OnlyKickAllowed&) = delete;

 private:
  sigset_t before_{};
};

/** Makes a blocking system call of `thread` return EINTR. The thread must not have been joined. */
void Kick(pthread_t thread) noexcept;

}  // namespace kvmtdx
