#include "system_handle.hpp"

#include "memory_handle.hpp"
#include "vm_handle.hpp"

namespace kvmtdx::node {

SystemHandle::Properties SystemHandle::Methods() {
  return {
      Method<&SystemHandle::GetApiVersion>("getApiVersion"),
      Method<&SystemHandle::Serial>("serial"),
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

SystemHandle::SystemHandle(const Napi::CallbackInfo& info) : Handle(info), serial_(environment().NewSerial()) {
  environment().systems_by_serial.emplace(serial_, &core());
}

SystemHandle::~SystemHandle() { environment().systems_by_serial.erase(serial_); }

/** The number that systemCheckExtension() of the addon takes. */
Napi::Value SystemHandle::Serial(const Arguments& arguments) const {
  return Napi::Number::New(arguments.env(), static_cast<double>(serial_));
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
