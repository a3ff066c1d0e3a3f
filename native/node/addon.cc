#include <cpuid.h>
#include <napi.h>

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
  return SystemHandle::Make(environment, system);
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

template <Napi::Value (*Function)(Environment&, const Arguments&)>
void Export(Napi::Env env, Napi::Object exports, const char* name) {
  napi_value function = nullptr;
  NAPI_THROW_IF_FAILED_VOID(env,
                            napi_create_function(env, name, NAPI_AUTO_LENGTH, &Called<Function>, nullptr, &function));
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
  Export<&SetUp>(env, exports, "setUp");
  Export<&OpenSystem>(env, exports, "openSystem");
  Export<&Cpuid>(env, exports, "cpuid");
  return exports;
}

}  // namespace
}  // namespace kvmtdx::node

static Napi::Object InitAddon(Napi::Env env, Napi::Object exports) { return kvmtdx::node::Init(env, exports); }

NODE_API_MODULE(kvm_tdx, InitAddon)
