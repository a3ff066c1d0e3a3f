#pragma once

#include "../core/vm.hpp"
#include "handle.hpp"

namespace kvmtdx::node {

class VmHandle : public Handle<VmHandle, Vm> {
 public:
  static constexpr napi_type_tag kTag{0xe37b1d94a60c5f82, 0x4f92c8e7035bda61};
  static constexpr const char* kName = "Vm";
  static Properties Methods();

  explicit VmHandle(const Napi::CallbackInfo& info);
  VmHandle(const VmHandle&) = delete;
  VmHandle& operator=(const VmHandle&) = delete;
  ~VmHandle() override;

 private:
  Napi::Value Serial(const Arguments& arguments) const;
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
  Napi::Value SetMsrFilter(const Arguments& arguments);
  Napi::Value TdxCapabilities(const Arguments& arguments);
  Napi::Value TdxInitVm(const Arguments& arguments);
  Napi::Value TdxFinalizeVm(const Arguments& arguments);
  Napi::Value TdxTerminateVm(const Arguments& arguments);

  uint64_t serial_;
};

}  // namespace kvmtdx::node
