// KVM_MEMORY_ENCRYPT_OP as a TDX kernel answers it.
#include <algorithm>
#include <cerrno>
#include <numeric>

#include "../core/error.hpp"
#include "../core/system.hpp"
#include "../core/vcpu.hpp"
#include "check.hpp"
#include "fake_kernel.hpp"

namespace kvmtdx::test {
namespace {

std::shared_ptr<Vm> NewVm() { return System::Open("/dev/kvm")->CreateVm(5); }
std::shared_ptr<Vcpu> NewVcpu(const std::shared_ptr<Vm>& vm) {
  return vm->CreateVcpu(0, [] {});
}

abi::kvm_cpuid_entry2* EntriesOf(abi::kvm_cpuid2* list) { return reinterpret_cast<abi::kvm_cpuid_entry2*>(list + 1); }

TEST("KVM_TDX_CAPABILITIES is asked with more entries until it fits, as the kernel does not say how many") {
  WithKernel kernel;
  std::vector<uint32_t> asked;
  kernel->OnTdx(abi::kTdxCapabilities, [&](abi::kvm_tdx_cmd& cmd) {
    auto& caps = At<abi::kvm_tdx_capabilities>(cmd.data);
    asked.push_back(caps.cpuid.nent);
    if (caps.cpuid.nent < 200) return Fail(E2BIG);
    caps.supported_attrs = 0x10000000;
    caps.user_tdvmcallinfo_1_r12 = 7;
    caps.cpuid.nent = 200;
    EntriesOf(&caps.cpuid)[199] = {
        .function = 0x80000008, .index = 1, .flags = 2, .eax = 3, .ebx = 4, .ecx = 5, .edx = 6, .padding = {}};
    return Ok();
  });
  const auto capabilities = NewVm()->GetTdxCapabilities();
  CHECK(asked == std::vector<uint32_t>({64, 128, 256}));
  CHECK(capabilities.fixed.supported_attrs == 0x10000000);
  CHECK(capabilities.fixed.user_tdvmcallinfo_1_r12 == 7);
  CHECK(capabilities.cpuid.size() == 200);
  CHECK(capabilities.cpuid[199].function == 0x80000008 && capabilities.cpuid[199].edx == 6);
}

TEST("A kernel that always answers E2BIG is believed at 4096 entries") {
  WithKernel kernel;
  uint32_t last = 0;
  kernel->OnTdx(abi::kTdxCapabilities, [&](abi::kvm_tdx_cmd& cmd) {
    last = At<abi::kvm_tdx_capabilities>(cmd.data).cpuid.nent;
    return Fail(E2BIG);
  });
  const auto vm = NewVm();
  const auto error = THROWN(SysError, vm->GetTdxCapabilities());
  CHECK(error.error == E2BIG && std::string(error.request) == "KVM_TDX_CAPABILITIES" && last == 4096);
}

TEST("KVM_TDX_GET_CPUID grows to the number that the kernel writes back") {
  WithKernel kernel;
  std::vector<uint32_t> asked;
  kernel->OnTdx(abi::kTdxGetCpuid, [&](abi::kvm_tdx_cmd& cmd) {
    auto& list = At<abi::kvm_cpuid2>(cmd.data);
    asked.push_back(list.nent);
    const bool fits = list.nent >= 66;
    list.nent = 66;
    return fits ? Ok() : Fail(E2BIG);
  });
  CHECK(NewVcpu(NewVm())->GetTdxCpuid().size() == 66);
  CHECK(asked == std::vector<uint32_t>({64, 66}));
}

TEST("KVM_GET_SUPPORTED_CPUID grows on E2BIG") {
  WithKernel kernel;
  kernel->On(abi::kGetSupportedCpuid, [](int, uint64_t argument) {
    auto& list = At<abi::kvm_cpuid2>(argument);
    if (list.nent < 100) return Fail(E2BIG);
    list.nent = 100;
    return Ok();
  });
  CHECK(System::Open("/dev/kvm")->GetSupportedCpuid().size() == 100);
}

TEST("More entries than there is room for are not read, whatever the kernel says") {
  WithKernel kernel;
  kernel->On(abi::kGetSupportedCpuid, [](int, uint64_t argument) {
    At<abi::kvm_cpuid2>(argument).nent = UINT32_MAX;
    return Ok();
  });
  CHECK(System::Open("/dev/kvm")->GetSupportedCpuid().size() == 64);
}

TEST("KVM_TDX_INIT_VM lays out attributes, XFAM, the three 48-byte fields and the CPUID entries") {
  WithKernel kernel;
  kernel->OnTdx(abi::kTdxInitVm, [](abi::kvm_tdx_cmd& cmd) {
    auto& init = At<abi::kvm_tdx_init_vm>(cmd.data);
    const auto* bytes = reinterpret_cast<const uint8_t*>(&init);
    CHECK(cmd.flags == 0);
    CHECK(init.attributes == 0x10000000 && init.xfam == 0xe7);
    for (int i = 0; i < 144; i++) CHECK(bytes[16 + i] == i);
    CHECK(std::all_of(std::begin(init.reserved), std::end(init.reserved), [](uint64_t word) { return word == 0; }));
    CHECK(init.cpuid.nent == 2 && init.cpuid.padding == 0);
    CHECK(EntriesOf(&init.cpuid)[1].function == 7);
    return Ok();
  });
  std::array<std::byte, 144> measurement{};
  for (size_t i = 0; i < measurement.size(); i++) measurement[i] = static_cast<std::byte>(i);
  const CpuidEntries cpuid(
      2, {.function = 7, .index = 0, .flags = 1, .eax = 0, .ebx = 0, .ecx = 0, .edx = 0, .padding = {}});
  NewVm()->InitTdx({.attributes = 0x10000000, .xfam = 0xe7, .measurement = measurement, .cpuid = cpuid});
}

TEST("hw_error is read with the errno, and is zero again at the next try") {
  WithKernel kernel;
  int tries = 0;
  kernel->OnTdx(abi::kTdxFinalizeVm, [&](abi::kvm_tdx_cmd& cmd) {
    cmd.hw_error = 0x8000020000000080;
    return tries++ == 0 ? Fail(EBUSY) : Ok();
  });
  const auto vm = NewVm();
  const auto error = THROWN(SysError, vm->FinalizeTdx());
  CHECK(error.error == EBUSY && error.hw_error == 0x8000020000000080);
  CHECK(std::string(error.request) == "KVM_TDX_FINALIZE_VM" && std::string(error.syscall) == "ioctl");
  vm->FinalizeTdx();  // the fake, like KVM, answers EINVAL to a stale hw_error
}

TEST("EINTR is tried again with a fresh hw_error, and given up after 1000 tries") {
  WithKernel kernel;
  int tries = 0;
  kernel->OnTdx(abi::kTdxInitVm, [&](abi::kvm_tdx_cmd& cmd) {
    cmd.hw_error = 1;
    return tries++ < 3 ? Fail(EINTR) : Ok();
  });
  const auto vm = NewVm();
  vm->InitTdx({});
  CHECK(tries == 4);

  kernel->On(abi::kCreateVm, [](int, uint64_t) { return Fail(EINTR); });
  const auto system = System::Open("/dev/kvm");
  const int before = kernel->Count(abi::kCreateVm);
  CHECK(THROWN(SysError, system->CreateVm(5)).error == EINTR);
  CHECK(kernel->Count(abi::kCreateVm) - before == 1001);
}

TEST("KVM_TDX_TERMINATE_VM: EINVAL means that the kernel does not have it") {
  WithKernel kernel;
  const auto vm = NewVm();
  CHECK(!vm->TerminateTdx());
  kernel->OnTdx(abi::kTdxTerminateVm, [](abi::kvm_tdx_cmd&) { return Fail(EBUSY); });
  CHECK(THROWN(SysError, vm->TerminateTdx()).error == EBUSY);
  kernel->OnTdx(abi::kTdxTerminateVm, [](abi::kvm_tdx_cmd&) { return Ok(); });
  CHECK(vm->TerminateTdx());
}

TEST("KVM_TDX_INIT_VCPU carries the value of RCX itself") {
  WithKernel kernel;
  uint64_t rcx = 0;
  kernel->OnTdx(abi::kTdxInitVcpu, [&](abi::kvm_tdx_cmd& cmd) {
    rcx = cmd.data;
    return Ok();
  });
  NewVcpu(NewVm())->InitTdx(0x809000);
  CHECK(rcx == 0x809000);
}

struct RegionCall {
  uint64_t gpa;
  uint64_t nr_pages;
};

/** Adds `pages` pages, then answers `result`. */
sys::Result Advance(abi::kvm_tdx_cmd& cmd, uint64_t pages, sys::Result result) {
  auto& region = At<abi::kvm_tdx_init_mem_region>(cmd.data);
  region.source_addr += pages * abi::kPageSize;
  region.gpa += pages * abi::kPageSize;
  region.nr_pages -= pages;
  return result;
}

TEST("KVM_TDX_INIT_MEM_REGION goes on where EINTR and EAGAIN left it") {
  WithKernel kernel;
  const auto system = System::Open("/dev/kvm");
  const auto memory = system->CreateMemory(16 * abi::kPageSize);
  const auto vcpu = NewVcpu(system->CreateVm(5));
  std::vector<RegionCall> calls;
  kernel->OnTdx(abi::kTdxInitMemRegion, [&](abi::kvm_tdx_cmd& cmd) {
    auto& region = At<abi::kvm_tdx_init_mem_region>(cmd.data);
    calls.push_back({region.gpa, region.nr_pages});
    CHECK(cmd.flags == 1);
    CHECK(region.source_addr - memory->mapping()->address() == region.gpa - 0x100000 + abi::kPageSize);
    switch (calls.size()) {
      case 1:
        return Advance(cmd, 3, Fail(EINTR));
      case 2:
        return Fail(EAGAIN);
      default:
        return Advance(cmd, region.nr_pages, Ok());
    }
  });
  vcpu->InitMemRegion(*memory, abi::kPageSize, 0x100000, 10, true);
  CHECK(calls.size() == 3);
  CHECK(calls[1].gpa == 0x103000 && calls[1].nr_pages == 7);
  CHECK(calls[2].gpa == 0x103000 && calls[2].nr_pages == 7);
}

TEST("KVM_TDX_INIT_MEM_REGION gives up after 100 tries without progress, and says how far it came") {
  WithKernel kernel;
  const auto system = System::Open("/dev/kvm");
  const auto memory = system->CreateMemory(16 * abi::kPageSize);
  const auto vcpu = NewVcpu(system->CreateVm(5));
  int tries = 0;
  kernel->OnTdx(abi::kTdxInitMemRegion,
                [&](abi::kvm_tdx_cmd& cmd) { return Advance(cmd, tries++ == 0 ? 4 : 0, Fail(EAGAIN)); });
  const auto busy = THROWN(SysError, vcpu->InitMemRegion(*memory, 0, 0, 10, false));
  CHECK(busy.error == EAGAIN && busy.pages_done == 4u && tries == 101);

  kernel->OnTdx(abi::kTdxInitMemRegion, [&](abi::kvm_tdx_cmd& cmd) { return Advance(cmd, 5, Fail(EIO)); });
  const auto failed = THROWN(SysError, vcpu->InitMemRegion(*memory, 0, 0, 10, false));
  CHECK(failed.error == EIO && failed.pages_done == 5u);
}

TEST("KVM_TDX_INIT_MEM_REGION never names memory outside the source") {
  WithKernel kernel;
  const auto system = System::Open("/dev/kvm");
  const auto memory = system->CreateMemory(4 * abi::kPageSize);
  const auto vcpu = NewVcpu(system->CreateVm(5));
  for (const auto& [offset, pages] : {std::pair<uint64_t, uint64_t>{0, 5},
                                      {4 * 4096, 1},
                                      {8, 4},
                                      {UINT64_MAX, 1},
                                      {0, UINT64_MAX},
                                      {4096, uint64_t{1} << 52}}) {
    CHECK(THROWN(ArgumentError, vcpu->InitMemRegion(*memory, offset, 0, pages, false)).kind ==
          ArgumentError::Kind::kRange);
  }
  const auto other = System::Open("/dev/kvm")->CreateMemory(4096);
  CHECK(THROWN(StateError, vcpu->InitMemRegion(*other, 0, 0, 1, false)).kind == StateError::Kind::kForeignObject);
  CHECK(kernel->Count(abi::kMemoryEncryptOp) == 0);
}

}  // namespace
}  // namespace kvmtdx::test
