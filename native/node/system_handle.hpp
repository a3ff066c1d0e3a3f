#pragma once

#include "../core/system.hpp"
#include "handle.hpp"

namespace kvmtdx::node {

class SystemHandle : public Handle<SystemHandle, System> {
 public:
  static constexpr napi_type_tag kTag{0x96a2f05c3e81d74b, 0x1b7c43d9e8f0562a};
  static constexpr const char* kName = "System";
  static Properties Methods();

  explicit SystemHandle(const Napi::CallbackInfo& info);
  SystemHandle(const SystemHandle&) = delete;
  SystemHandle& operator=(const SystemHandle&) = delete;
  ~SystemHandle() override;

 private:
  Napi::Value GetApiVersion(const Arguments& arguments);
  Napi::Value Serial(const Arguments& arguments) const;
  Napi::Value GetVcpuMmapSize(const Arguments& arguments);
  Napi::Value GetSupportedCpuid(const Arguments& arguments);
  Napi::Value CreateVm(const Arguments& arguments);
  Napi::Value CreateMemory(const Arguments& arguments);

  uint64_t serial_;
};

}  // namespace kvmtdx::node
