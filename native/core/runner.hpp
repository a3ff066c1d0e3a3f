// The thread of a vCPU. One thread owns the object and calls everything but Loop, which is the vCPU's.
#pragma once

#include <atomic>
#include <functional>
#include <thread>
#include <vector>

#include "exit.hpp"
#include "ports.hpp"
#include "semaphore.hpp"

namespace kvmtdx {

/** How a run ended. */
struct RunOutcome {
  enum class Kind { kExit, kInterrupted, kFailed };
  Kind kind = Kind::kInterrupted;
  /** errno of KVM_RUN, for kFailed. */
  int error = 0;
};

/** How far a run goes. */
enum class Enter {
  kGuest,
  /** With immediate_exit: what the last exit had begun is completed, no further instruction is executed. */
  kNot,
  /** The guest is left as soon as an external interrupt can be injected, too. */
  kToInterruptWindow,
};

class Runner {
 public:
  /** `on_done` is called on the vCPU's thread when a run has ended; it must not throw. */
  Runner(int vcpu_fd, RunPages pages, std::function<void()> on_done);
  ~Runner() { Stop(); }
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  /** Between runs only. The thread starts with the first run. @throws std::system_error if no thread can be had. */
  void Start(std::vector<PortRange> ports, Enter enter = Enter::kGuest);
  /** Ends the run soon, if there is one: its outcome is then kInterrupted, unless an exit was quicker. */
  void Interrupt() noexcept;
  /** After on_done. */
  RunOutcome outcome() const { return outcome_; }
  /** Interrupts, and waits until the thread has ended. Milliseconds at most; safe to call twice. */
  void Stop() noexcept;

  PortOutput& output() { return output_; }

 private:
  void Loop() noexcept;
  RunOutcome RunUntilExit() noexcept;

  const int vcpu_fd_;
  const RunPages pages_;
  const std::function<void()> on_done_;
  PortOutput output_;

  std::thread thread_;
  // Written by the owner before work_ is posted, by the vCPU's thread before on_done_.
  std::vector<PortRange> ports_;
  RunOutcome outcome_;
  Semaphore work_;
  Semaphore ended_;
  std::atomic<bool> asked_ = false;
  std::atomic<bool> interrupted_ = false;
  std::atomic<bool> late_kick_ = false;
  std::atomic<bool> quit_ = false;
};

}  // namespace kvmtdx
