#include "system.hpp"

#include "error.hpp"
#include "request.hpp"
#include "sys.hpp"

namespace kvmtdx {

std::shared_ptr<System> System::Open(const std::string& path) {
  const sys::Result opened = sys::Open(path.c_str());
  if (!opened.ok()) {
    SysError refused(opened.error, "open", "KVM device");
    refused.path = path;
    throw refused;
  }
  return std::shared_ptr<System>(new System(UniqueFd(static_cast<int>(opened.value))));
}

void System::Close() noexcept {
  vms_.CloseAll();
  memory_.CloseAll();
  fd_.Reset();
}

int System::GetApiVersion() const { return static_cast<int>(Issue(fd(), request::kGetApiVersion)); }

int System::GetVcpuMmapSize() const { return static_cast<int>(Issue(fd(), request::kGetVcpuMmapSize)); }

CpuidEntries System::GetSupportedCpuid() const {
  return Grow<abi::kvm_cpuid2>([this](auto& list) { IssueWith(fd(), request::kGetSupportedCpuid, list.header()); })
      .Entries();
}

std::shared_ptr<Vm> System::CreateVm(uint32_t type) {
  UniqueFd vm_fd(static_cast<int>(Issue(fd(), request::kCreateVm, type)));
  auto vm = std::make_shared<Vm>(shared_from_this(), std::move(vm_fd));
  vms_.Add(vm);
  return vm;
}

std::shared_ptr<GuestMemory> System::CreateMemory(uint64_t size) {
  fd();  // a closed system makes nothing
  auto memory = std::make_shared<GuestMemory>(shared_from_this(), size);
  memory_.Add(memory);
  return memory;
}

}  // namespace kvmtdx
