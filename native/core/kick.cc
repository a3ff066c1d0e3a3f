#include "kick.hpp"

#include <cerrno>
#include <csignal>

#include "error.hpp"
#include "sys.hpp"

namespace kvmtdx {
namespace {

void DoNothing(int /*signal*/) {}

// A real-time signal that nobody in the process handles. Node takes SIGUSR1, profilers SIGPROF, and glibc the first two
// real-time ones. No SA_RESTART: the interrupted call has to return. The addon is never unloaded (-z nodelete), so the
// handler stays valid.
int ClaimSignal() {
  for (int candidate = SIGRTMIN + 3; candidate <= SIGRTMAX; candidate++) {
    struct sigaction current {};
    if (sigaction(candidate, nullptr, &current) != 0 || current.sa_handler != SIG_DFL) continue;
    struct sigaction ours {};
    ours.sa_handler = DoNothing;
    sigemptyset(&ours.sa_mask);
    if (sigaction(candidate, &ours, nullptr) == 0) return candidate;
  }
  throw SysError(EBUSY, "sigaction", "kick signal");
}

int KickSignal() {
  static const int signal = ClaimSignal();  // once per process, thread-safe
  return signal;
}

}  // namespace

OnlyKickAllowed::OnlyKickAllowed() {
  sigset_t all_but_kick;
  sigfillset(&all_but_kick);
  sigdelset(&all_but_kick, KickSignal());
  pthread_sigmask(SIG_SETMASK, &all_but_kick, &before_);
}

OnlyKickAllowed::~OnlyKickAllowed() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

void Kick(pthread_t thread) noexcept {
  // EAGAIN: the user's limit of queued signals is reached; it empties as threads take theirs.
  for (unsigned attempt = 0; pthread_kill(thread, KickSignal()) == EAGAIN && attempt < 100; attempt++) {
    sys::Pause(attempt);
  }
}

}  // namespace kvmtdx
