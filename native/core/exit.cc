#include "exit.hpp"

#include <algorithm>
#include <iterator>

namespace kvmtdx {
namespace {

Bytes Copy(std::span<const uint8_t> bytes) { return {bytes.begin(), bytes.end()}; }

std::vector<uint64_t> Numbers(const uint64_t (&data)[abi::kMaxExitData], uint32_t count) {
  return {data, data + std::min(count, abi::kMaxExitData)};
}

Exit DecodeIo(const RunPages& pages) {
  const abi::kvm_run_io& io = pages.run().io;
  const auto data = pages.PortData();
  if (data.empty()) return UnknownExit{abi::kExitIo};
  const bool out = io.direction == abi::kIoOut;
  return IoExit{out, io.size, io.port, io.count, out ? Copy(data) : Bytes{}};
}

Exit DecodeMmio(const RunPages& pages) {
  const abi::kvm_run_mmio& mmio = pages.run().mmio;
  const auto data = pages.MmioData();
  if (data.empty()) return UnknownExit{abi::kExitMmio};
  return MmioExit{mmio.phys_addr, mmio.is_write != 0, mmio.is_write != 0 ? Copy(data) : Bytes(data.size())};
}

Exit DecodeHypercall(const abi::kvm_run_hypercall& call) {
  HypercallExit exit{call.nr, {}, call.flags};
  std::copy(std::begin(call.args), std::end(call.args), exit.args.begin());
  return exit;
}

Exit DecodeTdx(const abi::kvm_run_tdx& tdx) {
  return TdxExit{tdx.nr, tdx.flags, tdx.unknown.data[0], tdx.unknown.data[1]};
}

}  // namespace

// data_offset comes from the kernel and counts from the start of the pages.
std::span<uint8_t> RunPages::PortData() const {
  const abi::kvm_run_io& io = run().io;
  const uint64_t length = uint64_t{io.size} * io.count;
  if (io.data_offset > pages_.size() || length > pages_.size() - io.data_offset) return {};
  return {reinterpret_cast<uint8_t*>(pages_.data()) + io.data_offset, static_cast<std::size_t>(length)};
}

std::span<uint8_t> RunPages::MmioData() const {
  abi::kvm_run_mmio& mmio = run().mmio;
  if (mmio.len > sizeof mmio.data) return {};
  return {mmio.data, mmio.len};
}

Exit DecodeExit(const RunPages& pages) {
  const abi::kvm_run& run = pages.run();
  switch (run.exit_reason) {
    case abi::kExitIo:
      return DecodeIo(pages);
    case abi::kExitMmio:
      return DecodeMmio(pages);
    case abi::kExitHlt:
      return HltExit{};
    case abi::kExitShutdown:
      return ShutdownExit{};
    case abi::kExitHypercall:
      return DecodeHypercall(run.hypercall);
    case abi::kExitMemoryFault:
      return MemoryFaultExit{run.memory_fault.flags, run.memory_fault.gpa, run.memory_fault.size};
    case abi::kExitSystemEvent:
      return SystemEventExit{run.system_event.type, Numbers(run.system_event.data, run.system_event.ndata)};
    case abi::kExitTdx:
      return DecodeTdx(run.tdx);
    case abi::kExitX86Rdmsr:
      return MsrExit{false, run.msr.reason, run.msr.index, 0};
    case abi::kExitX86Wrmsr:
      return MsrExit{true, run.msr.reason, run.msr.index, run.msr.data};
    case abi::kExitInternalError:
      return InternalErrorExit{run.internal.suberror, Numbers(run.internal.data, run.internal.ndata)};
    case abi::kExitFailEntry:
      return FailEntryExit{run.fail_entry.hardware_entry_failure_reason, run.fail_entry.cpu};
    case abi::kExitIrqWindowOpen:
      return IrqWindowOpenExit{};
    case abi::kExitIntr:
      return IntrExit{};
    default:
      return UnknownExit{run.exit_reason};
  }
}

}  // namespace kvmtdx
