// What the addon keeps for each JavaScript environment (the main thread, each worker): how errors are built, which
// vCPUs may report, and what has to be closed when the environment ends.
#pragma once

#include <napi.h>

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <unordered_map>

#include "../core/children.hpp"
#include "../core/error.hpp"
#include "../core/system.hpp"

namespace kvmtdx::node {

class VcpuHandle;

class Environment {
 public:
  /** Makes the environment's instance; it lives until the last handle and the environment are gone. */
  static void Create(Napi::Env env);
  static std::shared_ptr<Environment>& Of(napi_env env);

  ~Environment() = default;
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

  /** The functions of TypeScript that build errors, and the one that is told of an unclosed object. */
  Napi::FunctionReference build_sys_error;
  Napi::FunctionReference build_state_error;
  Napi::FunctionReference on_unclosed;

  /** Constructors of the classes, by their type tag. */
  std::unordered_map<const napi_type_tag*, Napi::FunctionReference> constructors;
  /** What the constructor that is about to run wraps; null when JavaScript calls it. */
  std::shared_ptr<void> incoming;

  /** Closed when the environment ends. */
  Children<System> systems;

  // A serial names an object of this environment and is never used again, so what comes late hits nobody.
  uint64_t NewSerial() { return next_serial_++; }

  /**
   * Systems and VMs by serial, for functions that are asked so often that napi_unwrap(), a quarter of the time of the
   * cheapest ioctl, matters. An entry lives as long as its handle.
   */
  std::unordered_map<uint64_t, const System*> systems_by_serial;
  std::unordered_map<uint64_t, const Vm*> vms_by_serial;

  // Runs.
  void AddVcpu(uint64_t serial, VcpuHandle* vcpu) { vcpus_.emplace(serial, vcpu); }
  void RemoveVcpu(uint64_t serial) noexcept { vcpus_.erase(serial); }
  /** Callable on any thread: the vCPU's run has ended. */
  std::function<void()> Report(uint64_t serial) const;
  /** A run keeps the event loop alive. */
  void RunStarted();
  void RunEnded();

  /** From a finaliser: `kind` was collected without having been closed. */
  void ReportUnclosed(const char* kind) noexcept;

  /** Throws in JavaScript. */
  void Throw(const SysError& error) const;
  void Throw(const StateError& error) const;
  void Throw(const ArgumentError& error) const;

 private:
  explicit Environment(Napi::Env env) : env_(env) {}
  void Reported(Napi::Env env, uint64_t serial);
  void End() noexcept;
  void Raise(const Napi::FunctionReference& build, std::initializer_list<napi_value> arguments) const;

  Napi::Env env_;
  napi_threadsafe_function reports_ = nullptr;
  std::unordered_map<uint64_t, VcpuHandle*> vcpus_;
  uint64_t next_serial_ = 1;
  uint32_t runs_ = 0;
  const char* unclosed_ = nullptr;
  bool ended_ = false;
};

/** Throws the exception that is being handled in JavaScript. */
void Rethrow(napi_env env) noexcept;

/** Runs `call`; what it throws in C++ is thrown in JavaScript, and nothing else escapes. */
template <typename Call>
napi_value Guard(napi_env env, Call call) noexcept {
  try {
    return call();
  } catch (...) {
    Rethrow(env);
    return nullptr;
  }
}

}  // namespace kvmtdx::node
