#include "vcpu_handle.hpp"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "../core/error.hpp"
#include "../core/vm.hpp"
#include "exit_object.hpp"
#include "memory_handle.hpp"
#include "registers.hpp"

namespace kvmtdx::node {
namespace {

constexpr size_t kNumbersPerRange = 4;

/** Four numbers a range: first, last, byte that a read gives, whether to gather. */
std::vector<PortRange> Ports(std::span<const uint32_t> numbers) {
  if (numbers.size() % kNumbersPerRange != 0) ThrowRange("ports must have 4 numbers a range");
  std::vector<PortRange> ranges;
  for (size_t at = 0; at < numbers.size(); at += kNumbersPerRange) {
    const auto row = numbers.subspan(at, kNumbersPerRange);
    if (row[0] > row[1] || row[1] > UINT16_MAX || row[2] > UINT8_MAX || row[3] > 1) {
      ThrowRange("ports must have first <= last <= 0xffff, a byte, and 0 or 1");
    }
    ranges.push_back(
        {static_cast<uint16_t>(row[0]), static_cast<uint16_t>(row[1]), static_cast<uint8_t>(row[2]), row[3] == 1});
  }
  return ranges;
}

template <typename T>
Napi::Value FromStruct(Napi::Env env, const T& state) {
  return FromBytes(env, std::span(reinterpret_cast<const uint8_t*>(&state), sizeof state));
}

template <typename T>
T ToStruct(const Arguments& arguments, size_t index, const char* name) {
  const auto bytes = arguments.U8s(index, name);
  T state{};
  if (bytes.size() != sizeof state) ThrowRange(std::string(name) + " must have " + std::to_string(sizeof state) + " bytes");
  std::memcpy(&state, bytes.data(), sizeof state);
  return state;
}

}  // namespace

VcpuHandle::Properties VcpuHandle::Methods() {
  return {
      Method<&VcpuHandle::SetCpuid2>("setCpuid2"),
      Method<&VcpuHandle::GetRegs>("getRegs"),
      Method<&VcpuHandle::SetRegs>("setRegs"),
      Method<&VcpuHandle::GetSregs>("getSregs"),
      Method<&VcpuHandle::SetSregs>("setSregs"),
      Method<&VcpuHandle::GetXsave>("getXsave"),
      Method<&VcpuHandle::SetXsave>("setXsave"),
      Method<&VcpuHandle::GetXcrs>("getXcrs"),
      Method<&VcpuHandle::SetXcrs>("setXcrs"),
      Method<&VcpuHandle::GetVcpuEvents>("getVcpuEvents"),
      Method<&VcpuHandle::SetVcpuEvents>("setVcpuEvents"),
      Method<&VcpuHandle::TdxInitVcpu>("tdxInitVcpu"),
      Method<&VcpuHandle::TdxInitMemRegion>("tdxInitMemRegion"),
      Method<&VcpuHandle::TdxGetCpuid>("tdxGetCpuid"),
      Method<&VcpuHandle::Run>("run"),
      Method<&VcpuHandle::Interrupt>("interrupt"),
      Method<&VcpuHandle::TakePortOutput>("takePortOutput"),
      Method<&VcpuHandle::Close>("close"),
      Method<&VcpuHandle::IsClosed>("isClosed"),
  };
}

Napi::Object VcpuHandle::Make(Environment& environment, Vm& vm, uint32_t id) {
  const uint64_t serial = environment.NewSerial();
  const Napi::Object object = Handle::Make(environment, vm.CreateVcpu(id, environment.Report(serial)));
  auto* self = Unwrap(object);
  self->serial_ = serial;
  environment.AddVcpu(serial, self);
  return object;
}

VcpuHandle::~VcpuHandle() { environment().RemoveVcpu(serial_); }

Napi::Value VcpuHandle::SetCpuid2(const Arguments& arguments) {
  core().SetCpuid2(arguments.Cpuid(0, "entries"));
  return arguments.env().Undefined();
}

/** The 18 numbers of struct kvm_regs in its order. */
Napi::Value VcpuHandle::GetRegs(const Arguments& arguments) {
  return FromU64s(arguments.env(), Flatten(core().GetRegs()));
}

Napi::Value VcpuHandle::SetRegs(const Arguments& arguments) {
  abi::kvm_regs regs{};
  Unflatten(arguments.U64s(0, "regs", kRegsNumbers), regs);
  core().SetRegs(regs);
  return arguments.env().Undefined();
}

/** The numbers of struct kvm_sregs in its order, without padding. */
Napi::Value VcpuHandle::GetSregs(const Arguments& arguments) {
  return FromU64s(arguments.env(), Flatten(core().GetSregs()));
}

Napi::Value VcpuHandle::SetSregs(const Arguments& arguments) {
  abi::kvm_sregs sregs{};
  Unflatten(arguments.U64s(0, "sregs", kSregsNumbers), sregs);
  core().SetSregs(sregs);
  return arguments.env().Undefined();
}

/** The bytes of struct kvm_xsave. */
Napi::Value VcpuHandle::GetXsave(const Arguments& arguments) {
  return FromStruct(arguments.env(), core().GetXsave());
}

Napi::Value VcpuHandle::SetXsave(const Arguments& arguments) {
  core().SetXsave(ToStruct<abi::kvm_xsave>(arguments, 0, "xsave"));
  return arguments.env().Undefined();
}

/** The bytes of struct kvm_xcrs. */
Napi::Value VcpuHandle::GetXcrs(const Arguments& arguments) {
  return FromStruct(arguments.env(), core().GetXcrs());
}

Napi::Value VcpuHandle::SetXcrs(const Arguments& arguments) {
  core().SetXcrs(ToStruct<abi::kvm_xcrs>(arguments, 0, "xcrs"));
  return arguments.env().Undefined();
}

/** The bytes of struct kvm_vcpu_events. */
Napi::Value VcpuHandle::GetVcpuEvents(const Arguments& arguments) {
  return FromStruct(arguments.env(), core().GetVcpuEvents());
}

Napi::Value VcpuHandle::SetVcpuEvents(const Arguments& arguments) {
  core().SetVcpuEvents(ToStruct<abi::kvm_vcpu_events>(arguments, 0, "events"));
  return arguments.env().Undefined();
}

Napi::Value VcpuHandle::TdxInitVcpu(const Arguments& arguments) {
  core().InitTdx(arguments.U64(0, "rcx"));
  return arguments.env().Undefined();
}

/** tdxInitMemRegion(source, sourceOffset, gpa, nrPages, measure) */
Napi::Value VcpuHandle::TdxInitMemRegion(const Arguments& arguments) {
  const GuestMemory& source = GuestMemoryHandle::From(arguments[0], "source").core();
  core().InitMemRegion(source, arguments.Size(1, "sourceOffset"), arguments.U64(2, "gpa"), arguments.Size(3, "nrPages"),
                       arguments.Boolean(4, "measure"));
  return arguments.env().Undefined();
}

Napi::Value VcpuHandle::TdxGetCpuid(const Arguments& arguments) {
  return FromCpuid(arguments.env(), core().GetTdxCpuid());
}

/**
 * run(data: Uint8Array | null, ret: bigint | null, tdVmCallInfo: BigUint64Array of 4 | null, ports: Uint32Array,
 * settle, msr: BigUint64Array of (error, data) | null, enter: boolean, interruptWindow: boolean)
 * settle(how: 'exit' | 'interrupted' | 'closed' | 'failed', exit or errno) is called once, later.
 */
Napi::Value VcpuHandle::Run(const Arguments& arguments) {
  const Napi::Function settle = arguments.Function(4, "settle");
  auto ports = Ports(arguments.U32s(3, "ports"));
  Reply reply;
  if (!arguments.IsNull(1)) reply.ret = arguments.U64(1, "reply.ret");
  if (!arguments.IsNull(2)) {
    std::ranges::copy(arguments.U64s(2, "reply.tdVmCallInfo", 4), reply.tdvmcall_info.emplace().begin());
  }
  if (!arguments.IsNull(5)) {
    const auto msr = arguments.U64s(5, "reply.msr", 2);
    reply.msr = {msr[0] != 0, msr[1]};
  }
  const Enter inside = arguments.Boolean(7, "interruptWindow") ? Enter::kToInterruptWindow : Enter::kGuest;
  const Enter enter = arguments.Boolean(6, "enter") ? inside : Enter::kNot;
  if (!arguments.IsNull(0)) reply.data = arguments.U8s(0, "reply.data");
  core().Run(reply, std::move(ports), enter);
  // Until it ends a run keeps the event loop and this object alive.
  settle_ = Napi::Persistent(settle);
  Ref();
  environment().RunStarted();
  return arguments.env().Undefined();
}

void VcpuHandle::RunDone() {
  if (settle_.IsEmpty()) return;
  const Napi::Env env = Env();
  [[maybe_unused]] const Napi::Object alive = Value();  // keeps this object through the callback
  const Napi::FunctionReference settle = std::move(settle_);
  Unref();
  environment().RunEnded();

  const auto finished = core().FinishRun();
  if (!finished) {
    settle.Call({Napi::String::New(env, "closed")});
  } else if (finished->exit) {
    settle.Call({Napi::String::New(env, "exit"), ToObject(env, *finished->exit)});
  } else if (finished->outcome.kind == RunOutcome::Kind::kFailed) {
    settle.Call({Napi::String::New(env, "failed"), Napi::Number::New(env, finished->outcome.error)});
  } else {
    settle.Call({Napi::String::New(env, "interrupted")});
  }
}

Napi::Value VcpuHandle::Interrupt(const Arguments& arguments) {
  core().Interrupt();
  return arguments.env().Undefined();
}

Napi::Value VcpuHandle::TakePortOutput(const Arguments& arguments) {
  return FromBytes(arguments.env(), core().TakePortOutput());
}

}  // namespace kvmtdx::node
