// A vCPU descriptor.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "cpuid.hpp"
#include "memory.hpp"
#include "owned.hpp"
#include "reply.hpp"
#include "request.hpp"
#include "runner.hpp"

namespace kvmtdx {

class Vm;

/** KVM_TDX_INIT_MEM_REGION is tried again this often without a page of progress before EINTR or EAGAIN is believed. */
inline constexpr unsigned kInitMemRegionRetries = 100;

class Vcpu {
 public:
  Vcpu(std::shared_ptr<Vm> vm, UniqueFd fd, std::size_t run_size, std::function<void()> on_run_done);
  ~Vcpu() { Close(); }
  Vcpu(const Vcpu&) = delete;
  Vcpu& operator=(const Vcpu&) = delete;

  const Vm* vm() const { return vm_.get(); }
  bool closed() const { return !fd_.valid(); }
  /** From Run until FinishRun. */
  bool running() const { return running_; }
  /** Interrupts a run, ends the thread, closes the descriptor. */
  void Close() noexcept;

  void SetCpuid2(std::span<const abi::kvm_cpuid_entry2> entries);
  abi::kvm_regs GetRegs() const;
  void SetRegs(const abi::kvm_regs& regs);
  abi::kvm_sregs GetSregs() const;
  void SetSregs(const abi::kvm_sregs& sregs);
  abi::kvm_xsave GetXsave() const;
  void SetXsave(const abi::kvm_xsave& xsave);
  abi::kvm_xcrs GetXcrs() const;
  void SetXcrs(const abi::kvm_xcrs& xcrs);
  abi::kvm_vcpu_events GetVcpuEvents() const;
  void SetVcpuEvents(const abi::kvm_vcpu_events& events);

  /** KVM_TDX_INIT_VCPU. */
  void InitTdx(uint64_t rcx);
  /**
   * KVM_TDX_INIT_MEM_REGION, resumed after EINTR and EAGAIN. The pages are in the TD when it returns.
   * @throws SysError with pages_done.
   */
  void InitMemRegion(const GuestMemory& source, uint64_t offset, uint64_t gpa, uint64_t nr_pages, bool measure);
  /** KVM_TDX_GET_CPUID. */
  CpuidEntries GetTdxCpuid() const;

  /** Starts KVM_RUN on the vCPU's thread. */
  void Run(const Reply& reply, std::vector<PortRange> ports, Enter enter = Enter::kGuest);
  void Interrupt() noexcept;
  /** After on_run_done: how the run ended, and its exit if it had one. Nothing of a vCPU that was closed meanwhile. */
  struct Finished {
    RunOutcome outcome;
    std::optional<Exit> exit;
  };
  std::optional<Finished> FinishRun();
  /** Also after Close, so that a console's last words are not lost. */
  Bytes TakePortOutput() { return runner_.output().Take(); }

 private:
  template <typename T>
  T Get(const Request& request) const;
  template <typename T>
  void Set(const Request& request, const T& state);
  /** The descriptor for a request. @throws StateError if closed or running. */
  int fd() const;
  RunPages pages() const { return RunPages({run_.start(), run_.size()}); }

  std::shared_ptr<Vm> vm_;
  UniqueFd fd_;
  Mapping run_;
  PendingReply pending_;
  bool running_ = false;
  Runner runner_;
};

}  // namespace kvmtdx
