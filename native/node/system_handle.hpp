#pragma once

#include "../core/system.hpp"
#include "handle.hpp"

namespace kvmtdx::node {

class SystemHandle : public Handle<SystemHandle, System> {
 public:
  static constexpr napi_type_tag kTag{0x96a2f05c3e81d74b, 0x1b7c43d9e8f0562a};
  static constexpr const char* kName = "System";
  static Properties Methods();
  static Napi::Object Make(Environment& environment, const std::shared_ptr<System>& system);
  using Handle::Handle;

 private:
  Napi::Value GetApiVersion(const Arguments& arguments);
  static napi_value CheckExtension(napi_env env, System& system, napi_value capability);
  Napi::Value GetVcpuMmapSize(const Arguments& arguments);
  Napi::Value GetSupportedCpuid(const Arguments& arguments);
  Napi::Value CreateVm(const Arguments& arguments);
  Napi::Value CreateMemory(const Arguments& arguments);
};

}  // namespace kvmtdx::node
