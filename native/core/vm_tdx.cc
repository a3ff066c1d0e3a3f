// The sub-commands of KVM_MEMORY_ENCRYPT_OP that go to a TD's VM descriptor.
#include <cerrno>
#include <cstring>

#include "error.hpp"
#include "request.hpp"
#include "vm.hpp"

namespace kvmtdx {

TdxCapabilities Vm::GetTdxCapabilities() const {
  auto answer = Grow<abi::kvm_tdx_capabilities>([this](auto& list) {
    Issue(fd(), TdxCommand{.request = request::kTdxCapabilities, .id = abi::kTdxCapabilities, .data = list.address()});
  });
  return {*answer.header(), answer.Entries()};
}

void Vm::InitTdx(const TdxInitVm& params) {
  WithEntries<abi::kvm_tdx_init_vm> init(params.cpuid);
  abi::kvm_tdx_init_vm* fixed = init.header();
  fixed->attributes = params.attributes;
  fixed->xfam = params.xfam;
  // The three 48-byte fields lie side by side (abi_checks.cc).
  static_assert(sizeof fixed->mrconfigid + sizeof fixed->mrowner + sizeof fixed->mrownerconfig ==
                sizeof params.measurement);
  std::memcpy(reinterpret_cast<std::byte*>(fixed) + offsetof(abi::kvm_tdx_init_vm, mrconfigid),
              params.measurement.data(), params.measurement.size());
  Issue(fd(), TdxCommand{.request = request::kTdxInitVm, .id = abi::kTdxInitVm, .data = init.address()});
}

void Vm::FinalizeTdx() { Issue(fd(), TdxCommand{.request = request::kTdxFinalizeVm, .id = abi::kTdxFinalizeVm}); }

bool Vm::TerminateTdx() {
  try {
    Issue(fd(), TdxCommand{.request = request::kTdxTerminateVm, .id = abi::kTdxTerminateVm});
    return true;
  } catch (const SysError& refused) {
    if (refused.error == EINVAL) return false;
    throw;
  }
}

}  // namespace kvmtdx
