#pragma once

#include "../core/vcpu.hpp"
#include "handle.hpp"

namespace kvmtdx::node {

class VcpuHandle : public Handle<VcpuHandle, Vcpu> {
 public:
  static constexpr napi_type_tag kTag{0x7c5d0f1e6b2a4d83, 0x9a41e60b5f7d2c18};
  static constexpr const char* kName = "Vcpu";
  static Properties Methods();
  static Napi::Object Make(Environment& environment, Vm& vm, uint32_t id);

  using Handle::Handle;
  VcpuHandle(const VcpuHandle&) = delete;
  VcpuHandle& operator=(const VcpuHandle&) = delete;
  ~VcpuHandle() override;

  /** On JavaScript's thread, once for every run: tells its callback how it ended. */
  void RunDone();

 private:
  Napi::Value SetCpuid2(const Arguments& arguments);
  Napi::Value GetRegs(const Arguments& arguments);
  Napi::Value SetRegs(const Arguments& arguments);
  Napi::Value GetSregs(const Arguments& arguments);
  Napi::Value SetSregs(const Arguments& arguments);
  Napi::Value GetXsave(const Arguments& arguments);
  Napi::Value SetXsave(const Arguments& arguments);
  Napi::Value GetXcrs(const Arguments& arguments);
  Napi::Value SetXcrs(const Arguments& arguments);
  Napi::Value GetVcpuEvents(const Arguments& arguments);
  Napi::Value SetVcpuEvents(const Arguments& arguments);
  Napi::Value TdxInitVcpu(const Arguments& arguments);
  Napi::Value TdxInitMemRegion(const Arguments& arguments);
  Napi::Value TdxGetCpuid(const Arguments& arguments);
  Napi::Value Run(const Arguments& arguments);
  Napi::Value Interrupt(const Arguments& arguments);
  Napi::Value TakePortOutput(const Arguments& arguments);

  uint64_t serial_ = 0;
  /** While a run lasts. */
  Napi::FunctionReference settle_;
};

}  // namespace kvmtdx::node
