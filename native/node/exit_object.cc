#include "exit_object.hpp"

#include <span>

#include "convert.hpp"

namespace kvmtdx::node {
namespace {

/** One overload an exit; the names are those of src/kvm/exits.ts. */
class Builder {
 public:
  explicit Builder(Napi::Env env) : env_(env), object_(Napi::Object::New(env)) {}
  Napi::Object object() const { return object_; }

  void operator()(const IoExit& exit) {
    Reason("io");
    Set("direction", exit.out ? "out" : "in");
    Set("size", exit.size);
    Set("port", exit.port);
    Set("count", exit.count);
    Set("data", exit.data);
  }
  void operator()(const MmioExit& exit) {
    Reason("mmio");
    Set("gpa", exit.gpa);
    Set("isWrite", exit.is_write);
    Set("data", exit.data);
  }
  void operator()(const HltExit& /*exit*/) { Reason("hlt"); }
  void operator()(const ShutdownExit& /*exit*/) { Reason("shutdown"); }
  void operator()(const HypercallExit& exit) {
    Reason("hypercall");
    Set("nr", exit.nr);
    Set("args", std::span<const uint64_t>(exit.args));
    Set("flags", exit.flags);
  }
  void operator()(const MemoryFaultExit& exit) {
    Reason("memory-fault");
    Set("isPrivate", (exit.flags & abi::kMemoryExitFlagPrivate) != 0);
    Set("flags", exit.flags);
    Set("gpa", exit.gpa);
    Set("size", exit.size);
  }
  void operator()(const SystemEventExit& exit) {
    Reason("system-event");
    Set("type", exit.type);
    Set("data", std::span<const uint64_t>(exit.data));
  }
  void operator()(const TdxExit& exit) {
    Reason("tdx");
    Set("nr", exit.nr);
    Set("flags", exit.flags);
    switch (exit.nr) {
      case abi::kTdvmcallGetQuote:
        Set("call", "get-quote");
        Set("gpa", exit.first);
        Set("size", exit.second);
        break;
      case abi::kTdvmcallGetTdVmCallInfo:
        Set("call", "get-td-vm-call-info");
        Set("leaf", exit.first);
        break;
      case abi::kTdvmcallSetupEventNotifyInterrupt:
        Set("call", "setup-event-notify-interrupt");
        Set("vector", exit.first);
        break;
      default:
        Set("call", "unknown");
    }
  }
  void operator()(const MsrExit& exit) {
    Reason(exit.write ? "x86-wrmsr" : "x86-rdmsr");
    Set("why", exit.reason);
    Set("index", exit.index);
    if (exit.write) Set("data", exit.data);
  }
  void operator()(const InternalErrorExit& exit) {
    Reason("internal-error");
    Set("suberror", exit.suberror);
    Set("data", std::span<const uint64_t>(exit.data));
  }
  void operator()(const FailEntryExit& exit) {
    Reason("fail-entry");
    Set("hardwareEntryFailureReason", exit.hardware_entry_failure_reason);
    Set("cpu", exit.cpu);
  }
  void operator()(const IrqWindowOpenExit& /*exit*/) { Reason("irq-window-open"); }
  void operator()(const IntrExit& /*exit*/) { Reason("intr"); }
  void operator()(const UnknownExit& exit) {
    Reason("unknown");
    Set("exitReason", exit.exit_reason);
  }

 private:
  void Reason(const char* reason) { Set("reason", reason); }
  void Set(const char* name, const char* text) { object_.Set(name, text); }
  void Set(const char* name, bool value) { object_.Set(name, value); }
  void Set(const char* name, uint8_t value) { Set(name, uint32_t{value}); }
  void Set(const char* name, uint16_t value) { Set(name, uint32_t{value}); }
  void Set(const char* name, uint32_t value) { object_.Set(name, Napi::Number::New(env_, value)); }
  void Set(const char* name, uint64_t value) { object_.Set(name, Napi::BigInt::New(env_, value)); }
  void Set(const char* name, const Bytes& bytes) { object_.Set(name, FromBytes(env_, bytes)); }
  void Set(const char* name, std::span<const uint64_t> numbers) {
    auto array = Napi::Array::New(env_, numbers.size());
    for (uint32_t i = 0; i < numbers.size(); i++) array.Set(i, Napi::BigInt::New(env_, numbers[i]));
    object_.Set(name, array);
  }

  Napi::Env env_;
  Napi::Object object_;
};

}  // namespace

Napi::Object ToObject(Napi::Env env, const Exit& exit) {
  Builder builder(env);
  std::visit(builder, exit);
  return builder.object();
}

}  // namespace kvmtdx::node
