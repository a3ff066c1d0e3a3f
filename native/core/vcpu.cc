#include "vcpu.hpp"

#include <cerrno>
#include <utility>

#include "error.hpp"
#include "request.hpp"
#include "sys.hpp"
#include "vm.hpp"

namespace kvmtdx {
namespace {

Mapping MapRun(int fd, std::size_t size) {
  if (size < sizeof(abi::kvm_run)) throw SysError(EINVAL, "ioctl", request::kGetVcpuMmapSize.name);
  return Mapping::Shared(fd, size, "kvm_run");
}

}  // namespace

Vcpu::Vcpu(std::shared_ptr<Vm> vm, UniqueFd fd, std::size_t run_size, std::function<void()> on_run_done)
    : vm_(std::move(vm)),
      fd_(std::move(fd)),
      run_(MapRun(fd_.get(), run_size)),
      runner_(fd_.get(), pages(), std::move(on_run_done)) {}

int Vcpu::fd() const {
  if (closed()) ThrowClosed("the vCPU");
  if (running_) {
    throw StateError(StateError::Kind::kRunning, "the vCPU is running; await its run() or abort it first");
  }
  return fd_.get();
}

// In this order: the thread uses the descriptor and the pages until it has ended.
void Vcpu::Close() noexcept {
  runner_.Stop();
  run_.Reset();
  fd_.Reset();
}

void Vcpu::SetCpuid2(std::span<const abi::kvm_cpuid_entry2> entries) {
  WithEntries<abi::kvm_cpuid2> list(entries);
  IssueWith(fd(), request::kSetCpuid2, list.header());
}

abi::kvm_regs Vcpu::GetRegs() const {
  abi::kvm_regs regs{};
  IssueWith(fd(), request::kGetRegs, &regs);
  return regs;
}

void Vcpu::SetRegs(const abi::kvm_regs& regs) { IssueWith(fd(), request::kSetRegs, &regs); }

abi::kvm_sregs Vcpu::GetSregs() const {
  abi::kvm_sregs sregs{};
  IssueWith(fd(), request::kGetSregs, &sregs);
  return sregs;
}

void Vcpu::SetSregs(const abi::kvm_sregs& sregs) { IssueWith(fd(), request::kSetSregs, &sregs); }

void Vcpu::Run(const Reply& reply, std::vector<PortRange> ports) {
  fd();
  pending_.Apply(reply, pages());
  runner_.Start(std::move(ports));
  pending_.Clear();
  running_ = true;
}

void Vcpu::Interrupt() noexcept {
  if (running_ && !closed()) runner_.Interrupt();
}

std::optional<Vcpu::Finished> Vcpu::FinishRun() {
  running_ = false;
  if (closed()) return std::nullopt;
  Finished finished{runner_.outcome(), std::nullopt};
  if (finished.outcome.kind == RunOutcome::Kind::kExit) {
    finished.exit = DecodeExit(pages());
    pending_.Expect(pages());
  }
  return finished;
}

}  // namespace kvmtdx
