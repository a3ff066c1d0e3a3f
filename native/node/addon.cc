#include <cpuid.h>
#include <napi.h>

#include <array>

#include "environment.hpp"
#include "memory_handle.hpp"
#include "system_handle.hpp"
#include "vcpu_handle.hpp"
#include "vm_handle.hpp"

namespace kvmtdx::node {
namespace {

/** Runs `Function` with its arguments checked and its exceptions translated. */
template <Napi::Value (*Function)(Environment&, const Arguments&)>
napi_value Called(napi_env env, napi_callback_info raw) noexcept {
  return Guard(env, [&]() -> napi_value {
    const Napi::CallbackInfo info(env, raw);
    return Function(*Environment::Of(env), Arguments(info));
  });
}

/** setUp(buildSysError, buildStateError, onUnclosed) */
Napi::Value SetUp(Environment& environment, const Arguments& arguments) {
  environment.build_sys_error = Napi::Persistent(arguments.Function(0, "buildSysError"));
  environment.build_state_error = Napi::Persistent(arguments.Function(1, "buildStateError"));
  environment.on_unclosed = Napi::Persistent(arguments.Function(2, "onUnclosed"));
  return arguments.env().Undefined();
}

/** openSystem(path) */
Napi::Value OpenSystem(Environment& environment, const Arguments& arguments) {
  auto system = System::Open(arguments.String(0, "path"));
  environment.systems.Add(system);
  return SystemHandle::Make(environment, std::move(system));
}

/** cpuid(leaf, subleaf): what the CPUID instruction gives this process, as [eax, ebx, ecx, edx]. */
Napi::Value Cpuid(Environment& /*environment*/, const Arguments& arguments) {
  const uint32_t leaf = arguments.U32(0, "leaf");
  const uint32_t subleaf = arguments.U32(1, "subleaf");
  uint32_t eax = 0;
  uint32_t ebx = 0;
  uint32_t ecx = 0;
  uint32_t edx = 0;
  // The instruction takes any leaf and touches nothing but these registers.
  __cpuid_count(leaf, subleaf, eax, ebx, ecx, edx);
  auto numbers = Napi::Array::New(arguments.env(), 4);
  uint32_t at = 0;
  for (const uint32_t number : {eax, ebx, ecx, edx}) numbers.Set(at++, Napi::Number::New(arguments.env(), number));
  return numbers;
}

/** systemCheckExtension(serial, capability), vmCheckExtension(serial, capability) */
template <typename Core, std::unordered_map<uint64_t, const Core*> Environment::*BySerial>
napi_value CheckExtension(napi_env env, napi_callback_info raw) noexcept {
  return Guard(env, [&] {
    size_t count = 2;
    std::array<napi_value, 2> arguments{};  // undefined where there is none
    void* environment = nullptr;
    napi_get_cb_info(env, raw, &count, arguments.data(), nullptr, &environment);
    const auto& known = static_cast<Environment*>(environment)->*BySerial;
    const auto found = known.find(ToU32(env, arguments[0], "serial"));
    if (found == known.end()) ThrowType("serial must be that of a system or VM");
    napi_value answer = nullptr;
    napi_create_int32(env, found->second->CheckExtension(ToU32(env, arguments[1], "capability")), &answer);
    return answer;
  });
}

/** The environment is the data of every function: it lives as long as one can be called. */
void Export(Napi::Env env, Napi::Object exports, const char* name, napi_callback callback, Environment& environment) {
  napi_value function = nullptr;
  NAPI_THROW_IF_FAILED_VOID(env, napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, &environment, &function));
  exports.Set(name, Napi::Value(env, function));
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  Environment::Create(env);
  const auto environment = Environment::Of(env);
  SystemHandle::Define(env, *environment);
  VmHandle::Define(env, *environment);
  VcpuHandle::Define(env, *environment);
  GuestMemoryHandle::Define(env, *environment);
  GuestMemfdHandle::Define(env, *environment);
  Export(env, exports, "setUp", &Called<&SetUp>, *environment);
  Export(env, exports, "openSystem", &Called<&OpenSystem>, *environment);
  Export(env, exports, "cpuid", &Called<&Cpuid>, *environment);
  Export(env, exports, "systemCheckExtension", &CheckExtension<System, &Environment::systems_by_serial>, *environment);
  Export(env, exports, "vmCheckExtension", &CheckExtension<Vm, &Environment::vms_by_serial>, *environment);
  return exports;
}

}  // namespace
}  // namespace kvmtdx::node

static Napi::Object InitAddon(Napi::Env env, Napi::Object exports) { return kvmtdx::node::Init(env, exports); }

NODE_API_MODULE(kvm_tdx, InitAddon)
