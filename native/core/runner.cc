#include "runner.hpp"

#include <cerrno>
#include <utility>

#include "abi.hpp"
#include "error.hpp"
#include "kick.hpp"
#include "request.hpp"
#include "sys.hpp"

namespace kvmtdx {
namespace {

constexpr long kKickAgainAfterMilliseconds = 10;

/** KVM looks at this byte before it enters the guest, and then returns EINTR. */
void SetImmediateExit(abi::kvm_run& run, bool on) {
  std::atomic_ref(run.immediate_exit).store(on ? 1 : 0, std::memory_order_seq_cst);
}

bool IsMemoryFault(int error, const abi::kvm_run& run) {
  return (error == EFAULT || error == EHWPOISON) && run.exit_reason == abi::kExitMemoryFault;
}

}  // namespace

Runner::Runner(int vcpu_fd, RunPages pages, std::function<void()> on_done)
    : vcpu_fd_(vcpu_fd), pages_(pages), on_done_(std::move(on_done)) {}

void Runner::Start(std::vector<PortRange> ports, Enter enter) {
  if (!thread_.joinable()) {
    const OnlyKickAllowed signals;
    thread_ = std::thread(&Runner::Loop, this);
  }
  ports_ = std::move(ports);
  late_kick_ = interrupted_.load();
  interrupted_ = false;
  SetImmediateExit(pages_.run(), enter == Enter::kNot);
  pages_.run().request_interrupt_window = enter == Enter::kToInterruptWindow ? 1 : 0;
  asked_ = true;
  work_.Post();
}

// First the byte, then the signal: before the guest is entered the one is seen, inside it the other.
void Runner::Interrupt() noexcept {
  if (!thread_.joinable()) return;
  interrupted_ = true;
  SetImmediateExit(pages_.run(), true);
  Kick(thread_.native_handle());
}

void Runner::Stop() noexcept {
  if (!thread_.joinable()) return;
  quit_ = true;
  do {
    Interrupt();
    work_.Post();
  } while (!ended_.WaitFor(kKickAgainAfterMilliseconds));
  thread_.join();
}

// A run that was asked for is always reported, also if the thread is to end before it had begun: only a post without a
// run asks whether it is the end.
void Runner::Loop() noexcept {
  for (;;) {
    work_.Wait();
    if (asked_.exchange(false)) {
      outcome_ = RunUntilExit();
      on_done_();
    } else if (quit_) {
      break;
    }
  }
  ended_.Post();
}

RunOutcome Runner::RunUntilExit() noexcept {
  abi::kvm_run& run = pages_.run();
  for (;;) {
    run.exit_reason = abi::kExitUnknown;  // so that a memory fault is this run's
    // vcpu_fd_ and the pages outlive this thread: Vcpu::Close ends it first.
    const sys::Result result = sys::Ioctl(vcpu_fd_, request::kRun.number, 0);
    if (result.error == EINTR) {
      if (interrupted_) return {RunOutcome::Kind::kInterrupted};
      if (late_kick_.exchange(false)) continue;  // meant for the run before this one
      run.exit_reason = abi::kExitIntr;
      return {RunOutcome::Kind::kExit};
    }
    // A vCPU that waited for its start-up IPI has got it.
    if (result.error == EAGAIN) continue;
    if (!result.ok() && !IsMemoryFault(result.error, run)) return {RunOutcome::Kind::kFailed, result.error};
    if (run.exit_reason == abi::kExitIo && AnswerPort(ports_, pages_, output_)) continue;
    return {RunOutcome::Kind::kExit};
  }
}

}  // namespace kvmtdx
