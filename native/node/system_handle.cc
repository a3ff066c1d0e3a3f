#include "system_handle.hpp"

#include "memory_handle.hpp"
#include "vm_handle.hpp"

namespace kvmtdx::node {

SystemHandle::Properties SystemHandle::Methods() {
  return {
      Method<&SystemHandle::GetApiVersion>("getApiVersion"),
      Method<&SystemHandle::GetVcpuMmapSize>("getVcpuMmapSize"),
      Method<&SystemHandle::GetSupportedCpuid>("getSupportedCpuid"),
      Method<&SystemHandle::CreateVm>("createVm"),
      Method<&SystemHandle::CreateMemory>("createMemory"),
      Method<&SystemHandle::Close>("close"),
      Method<&SystemHandle::IsClosed>("isClosed"),
  };
}

Napi::Value SystemHandle::GetApiVersion(const Arguments& arguments) {
  return Napi::Number::New(arguments.env(), core().GetApiVersion());
}

Napi::Object SystemHandle::Make(Environment& environment, const std::shared_ptr<System>& system) {
  const Napi::Object object = Handle::Make(environment, system);
  Bind<&CheckExtension>(object, "checkExtension", system);
  return object;
}

/** checkExtension(capability) */
napi_value SystemHandle::CheckExtension(napi_env env, System& system, napi_value capability) {
  napi_value answer = nullptr;
  napi_create_int32(env, system.CheckExtension(ToU32(env, capability, "capability")), &answer);
  return answer;
}

Napi::Value SystemHandle::GetVcpuMmapSize(const Arguments& arguments) {
  return Napi::Number::New(arguments.env(), core().GetVcpuMmapSize());
}

Napi::Value SystemHandle::GetSupportedCpuid(const Arguments& arguments) {
  return FromCpuid(arguments.env(), core().GetSupportedCpuid());
}

Napi::Value SystemHandle::CreateVm(const Arguments& arguments) {
  return VmHandle::Make(environment(), core().CreateVm(arguments.U32(0, "type")));
}

Napi::Value SystemHandle::CreateMemory(const Arguments& arguments) {
  return GuestMemoryHandle::Make(environment(), core().CreateMemory(arguments.Size(0, "size")));
}

}  // namespace kvmtdx::node
