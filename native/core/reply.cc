#include "reply.hpp"

#include <algorithm>
#include <string>

#include "error.hpp"

namespace kvmtdx {
namespace {

constexpr uint8_t kEmptyBus = 0xff;

}  // namespace

std::span<uint8_t> PendingReply::Data(const RunPages& pages) const {
  if (kind_ == Kind::kPortRead) return pages.PortData();
  if (kind_ == Kind::kMmioRead) return pages.MmioData();
  return {};
}

void PendingReply::Expect(const RunPages& pages) {
  const abi::kvm_run& run = pages.run();
  kind_ = Kind::kNone;
  switch (run.exit_reason) {
    case abi::kExitIo:
      if (run.io.direction == abi::kIoIn) kind_ = Kind::kPortRead;
      break;
    case abi::kExitMmio:
      if (run.mmio.is_write == 0) kind_ = Kind::kMmioRead;
      break;
    case abi::kExitHypercall:
      kind_ = Kind::kHypercall;
      break;
    case abi::kExitTdx:
      kind_ = run.tdx.nr == abi::kTdvmcallGetTdVmCallInfo ? Kind::kTdVmCallInfo : Kind::kTdx;
      break;
    case abi::kExitX86Rdmsr:
    case abi::kExitX86Wrmsr:
      kind_ = Kind::kMsr;
      pages.run().msr.error = 1;
      break;
    default:
      break;
  }
  std::ranges::fill(Data(pages), kEmptyBus);
}

void PendingReply::Apply(const Reply& reply, const RunPages& pages) const {
  const auto data = Data(pages);
  if (reply.data) {
    if (data.empty()) ThrowType("reply.data: the last exit was no read of a port or of MMIO");
    if (reply.data->size() != data.size()) {
      ThrowRange("reply.data must have the " + std::to_string(data.size()) + " bytes that the exit asked for, got " +
                 std::to_string(reply.data->size()));
    }
  }
  const bool takes_ret = kind_ == Kind::kHypercall || kind_ == Kind::kTdx || kind_ == Kind::kTdVmCallInfo;
  if (reply.ret && !takes_ret) ThrowType("reply.ret: the last exit was no hypercall and no KVM_EXIT_TDX");
  if (reply.tdvmcall_info && kind_ != Kind::kTdVmCallInfo) {
    ThrowType("reply.tdVmCallInfo: the last exit was no GetTdVmCallInfo");
  }
  if (reply.msr && kind_ != Kind::kMsr) ThrowType("reply.msr: the last exit was no access to an MSR");

  abi::kvm_run& run = pages.run();
  // Both are spans of equal length: the caller's bytes and the exit's own part of the shared pages.
  if (reply.data) std::ranges::copy(*reply.data, data.begin());
  if (reply.ret) (kind_ == Kind::kHypercall ? run.hypercall.ret : run.tdx.unknown.ret) = *reply.ret;
  if (reply.tdvmcall_info) {
    auto& info = run.tdx.get_tdvmcall_info;
    info.r11 = (*reply.tdvmcall_info)[0];
    info.r12 = (*reply.tdvmcall_info)[1];
    info.r13 = (*reply.tdvmcall_info)[2];
    info.r14 = (*reply.tdvmcall_info)[3];
  }
  if (reply.msr) {
    run.msr.error = reply.msr->error ? 1 : 0;
    if (run.exit_reason == abi::kExitX86Rdmsr) run.msr.data = reply.msr->data;
  }
}

}  // namespace kvmtdx
