// std::counting_semaphore and std::condition_variable would need a newer libstdc++ than some TDX hosts have.
#pragma once

#include <semaphore.h>

#include <cerrno>
#include <ctime>

namespace kvmtdx {

class Semaphore {
 public:
  Semaphore() { sem_init(&semaphore_, 0, 0); }
  ~Semaphore() { sem_destroy(&semaphore_); }
  Semaphore(const Semaphore&) = delete;
  Semaphore& operator=(const Semaphore&) = delete;

  void Post() noexcept { sem_post(&semaphore_); }

  void Wait() noexcept {
    while (sem_wait(&semaphore_) != 0 && errno == EINTR) {
    }
  }

  /** False if nobody posted within `milliseconds`. */
  bool WaitFor(long milliseconds) noexcept {
    timespec until{};
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += milliseconds * 1'000'000;
    until.tv_sec += until.tv_nsec / 1'000'000'000;
    until.tv_nsec %= 1'000'000'000;
    for (;;) {
      if (sem_clockwait(&semaphore_, CLOCK_MONOTONIC, &until) == 0) return true;
      if (errno != EINTR) return false;
    }
  }

 private:
  sem_t semaphore_{};
};

}  // namespace kvmtdx
