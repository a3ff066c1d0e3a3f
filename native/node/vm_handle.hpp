#pragma once

#include "../core/vm.hpp"
#include "handle.hpp"

namespace kvmtdx::node {

class VmHandle : public Handle<VmHandle, Vm> {
 public:
  static constexpr napi_type_tag kTag{0xe37b1d94a60c5f82, 0x4f92c8e7035bda61};
  static constexpr const char* kName = "Vm";
  static Properties Methods();
  static Napi::Object Make(Environment& environment, const std::shared_ptr<Vm>& vm);
  using Handle::Handle;

 private:
  static napi_value CheckExtension(napi_env env, Vm& vm, napi_value capability);
  Napi::Value EnableCap(const Arguments& arguments);
  Napi::Value CreateVcpu(const Arguments& arguments);
  Napi::Value SetTscKhz(const Arguments& arguments);
  Napi::Value GetTscKhz(const Arguments& arguments);
  Napi::Value SetUserMemoryRegion(const Arguments& arguments);
  Napi::Value SetUserMemoryRegion2(const Arguments& arguments);
  Napi::Value CreateGuestMemfd(const Arguments& arguments);
  Napi::Value SetMemoryAttributes(const Arguments& arguments);
  Napi::Value SetTssAddr(const Arguments& arguments);
  Napi::Value SetIdentityMapAddr(const Arguments& arguments);
  Napi::Value TdxCapabilities(const Arguments& arguments);
  Napi::Value TdxInitVm(const Arguments& arguments);
  Napi::Value TdxFinalizeVm(const Arguments& arguments);
  Napi::Value TdxTerminateVm(const Arguments& arguments);
};

}  // namespace kvmtdx::node
