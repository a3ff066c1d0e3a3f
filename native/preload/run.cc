#include "run.hpp"

#include <poll.h>
#include <sys/signalfd.h>

#include <cerrno>
#include <csignal>

#include "server.hpp"

namespace kvmtdx::preload {
namespace {

constexpr uint64_t Bit(int signal) { return uint64_t{1} << (signal - 1); }
constexpr uint64_t kNeverBlocked = Bit(SIGKILL) | Bit(SIGSTOP);

/** All signals wait from here to the poll, which lets them in: one in between would be lost. */
class Held {
 public:
  Held() {
    const uint64_t all = ~uint64_t{0};
    Raw(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before_, sizeof before_);
  }
  ~Held() { Raw(SYS_rt_sigprocmask, SIG_SETMASK, &before_, 0, sizeof before_); }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;

  uint64_t before() const { return before_; }

 private:
  uint64_t before_ = 0;
};

/**
 * Signals that the thread blocks and KVM_SET_SIGNAL_MASK lets in end the run and stay pending, their handlers not
 * called: as KVM puts the thread's mask back before it returns. A signalfd that nobody reads tells of them.
 */
class Pending {
 public:
  explicit Pending(uint64_t signals)
      : descriptor_(signals == 0 ? -1
                                 : static_cast<int>(
                                       Raw(SYS_signalfd4, -1, &signals, sizeof signals, SFD_CLOEXEC | SFD_NONBLOCK))) {}
  ~Pending() {
    if (descriptor_ >= 0) RawClose(descriptor_);
  }
  Pending(const Pending&) = delete;
  Pending& operator=(const Pending&) = delete;

  /** -1: there are none to wait for. */
  int descriptor() const { return descriptor_; }

 private:
  int descriptor_;
};

}  // namespace

bool SendAndWait(Channel& channel, const SignalMask& mask) {
  const Held held;
  const uint64_t blocked = mask.set ? held.before() | mask.blocked : held.before();
  const Pending pending(mask.set ? held.before() & ~mask.blocked & ~kNeverBlocked : 0);

  Buffer& message = channel.buffer;
  if (!SendAll(channel.socket, message.data(), message.size())) return false;
  channel.interruptible = true;
  pollfd waits[] = {{channel.socket, POLLIN, 0}, {pending.descriptor(), POLLIN, 0}};
  for (;;) {
    const long ready = Raw(SYS_ppoll, waits, 2, 0, &blocked, sizeof blocked);
    if (ready < 0 && ready != -EINTR) return false;
    if (ready > 0 && waits[0].revents != 0) break;
    // A signal, taken or pending; the result comes all the same.
    if (!Interrupt(channel)) return false;
    waits[1].fd = -1;
  }
  channel.interruptible = false;
  return ReceiveMessage(channel.socket, message);
}

}  // namespace kvmtdx::preload
