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

template <typename T>
T Vcpu::Get(const Request& request) const {
  T state{};
  IssueWith(fd(), request, &state);
  return state;
}

template <typename T>
void Vcpu::Set(const Request& request, const T& state) {
  IssueWith(fd(), request, &state);
}

abi::kvm_regs Vcpu::GetRegs() const { return Get<abi::kvm_regs>(request::kGetRegs); }
void Vcpu::SetRegs(const abi::kvm_regs& regs) { Set(request::kSetRegs, regs); }
abi::kvm_sregs Vcpu::GetSregs() const { return Get<abi::kvm_sregs>(request::kGetSregs); }
void Vcpu::SetSregs(const abi::kvm_sregs& sregs) { Set(request::kSetSregs, sregs); }
abi::kvm_xsave Vcpu::GetXsave() const { return Get<abi::kvm_xsave>(request::kGetXsave); }
void Vcpu::SetXsave(const abi::kvm_xsave& xsave) { Set(request::kSetXsave, xsave); }
abi::kvm_xcrs Vcpu::GetXcrs() const { return Get<abi::kvm_xcrs>(request::kGetXcrs); }
void Vcpu::SetXcrs(const abi::kvm_xcrs& xcrs) { Set(request::kSetXcrs, xcrs); }
abi::kvm_vcpu_events Vcpu::GetVcpuEvents() const { return Get<abi::kvm_vcpu_events>(request::kGetVcpuEvents); }
void Vcpu::SetVcpuEvents(const abi::kvm_vcpu_events& events) { Set(request::kSetVcpuEvents, events); }

void Vcpu::Run(const Reply& reply, std::vector<PortRange> ports, Enter enter) {
  fd();
  pending_.Apply(reply, pages());
  runner_.Start(std::move(ports), enter);
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
