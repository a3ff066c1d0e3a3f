// VMs, their memory and their ends.
#include <cerrno>

#include "../core/error.hpp"
#include "../core/system.hpp"
#include "../core/vcpu.hpp"
#include "check.hpp"
#include "fake_kernel.hpp"

namespace kvmtdx::test {
namespace {

MemorySlot Slot(uint32_t number, uint64_t size, const GuestMemory* memory) {
  return {.slot = number, .flags = 0, .gpa = 0, .size = size, .memory = memory};
}

TEST("A missing device is told by its path") {
  WithKernel kernel;
  const auto error = THROWN(SysError, System::Open("/dev/nothing"));
  CHECK(error.error == ENOENT && error.path == "/dev/nothing" && std::string(error.syscall) == "open");
}

TEST("Memory lives as long as a slot refers to it, and no longer") {
  WithKernel kernel;
  const auto system = System::Open("/dev/kvm");
  const auto vm = system->CreateVm(0);
  const auto memory = system->CreateMemory(65536);
  const uint64_t address = memory->mapping()->address();
  vm->SetUserMemoryRegion(Slot(0, 65536, memory.get()));
  vm->SetUserMemoryRegion(Slot(1, 65536, memory.get()));
  memory->Close();
  CHECK(THROWN(StateError, memory->mapping()).kind == StateError::Kind::kClosed);
  CHECK(kernel->mapped.contains(address));
  vm->SetUserMemoryRegion(Slot(0, 0, nullptr));
  CHECK(kernel->mapped.contains(address));
  vm->Close();
  CHECK(!kernel->mapped.contains(address));
}

TEST("A refused change of a slot keeps what the guest still has") {
  WithKernel kernel;
  const auto system = System::Open("/dev/kvm");
  const auto vm = system->CreateVm(0);
  const auto memory = system->CreateMemory(4096);
  const uint64_t address = memory->mapping()->address();
  vm->SetUserMemoryRegion(Slot(0, 4096, memory.get()));
  memory->Close();
  kernel->On(abi::kSetUserMemoryRegion, [](int, uint64_t) { return Fail(EINVAL); });
  CHECK(THROWN(SysError, vm->SetUserMemoryRegion(Slot(0, 0, nullptr))).error == EINVAL);
  CHECK(kernel->mapped.contains(address));
}

TEST("A slot without memory never shows a guest this process's addresses") {
  WithKernel kernel;
  const auto vm = System::Open("/dev/kvm")->CreateVm(0);
  uint64_t address = 0;
  kernel->On(abi::kSetUserMemoryRegion2, [&](int, uint64_t argument) {
    address = At<abi::kvm_userspace_memory_region2>(argument).userspace_addr;
    return Ok();
  });
  vm->SetUserMemoryRegion2(Slot(0, uint64_t{1} << 32, nullptr));
  CHECK(address != 0 && kernel->mapped[address] == uint64_t{1} << 32);
}

TEST("A slot stays inside its memory") {
  WithKernel kernel;
  const auto system = System::Open("/dev/kvm");
  const auto vm = system->CreateVm(0);
  const auto memory = system->CreateMemory(8192);
  for (const auto& [offset, size] : {std::pair<uint64_t, uint64_t>{0, 12288},
                                     {4096, 8192},
                                     {UINT64_MAX, 4096},
                                     {8192, 4096},
                                     {4096, UINT64_MAX - 4095}}) {
    MemorySlot slot = Slot(0, size, memory.get());
    slot.memory_offset = offset;
    CHECK(THROWN(ArgumentError, vm->SetUserMemoryRegion(slot)).kind == ArgumentError::Kind::kRange);
  }
  const auto other = System::Open("/dev/kvm")->CreateMemory(4096);
  CHECK(THROWN(StateError, vm->SetUserMemoryRegion(Slot(0, 4096, other.get()))).kind ==
        StateError::Kind::kForeignObject);
  CHECK(kernel->Count(abi::kSetUserMemoryRegion) == 0);
}

TEST("A guest_memfd serves its own VM only") {
  WithKernel kernel;
  const auto system = System::Open("/dev/kvm");
  const auto vm = system->CreateVm(5);
  const auto memfd = system->CreateVm(5)->CreateGuestMemfd(4096, 0);
  MemorySlot slot = Slot(0, 4096, nullptr);
  slot.guest_memfd = memfd.get();
  CHECK(THROWN(StateError, vm->SetUserMemoryRegion2(slot)).kind == StateError::Kind::kForeignObject);
  CHECK(kernel->Count(abi::kSetUserMemoryRegion2) == 0);
}

TEST("An MSR filter is handed over with its bitmaps, whose lengths are checked first") {
  WithKernel kernel;
  const auto vm = System::Open("/dev/kvm")->CreateVm(0);
  kernel->On(abi::kX86SetMsrFilter, [](int, uint64_t argument) {
    const auto& filter = At<abi::kvm_msr_filter>(argument);
    CHECK(filter.flags == 1 && filter.ranges[0].flags == 3);
    CHECK(filter.ranges[0].base == 0x174 && filter.ranges[0].nmsrs == 9);
    CHECK(filter.ranges[0].bitmap[1] == 0x5a && filter.ranges[1].nmsrs == 0);
    return Ok();
  });
  const std::array<uint8_t, 8> bitmap{0xff, 0x5a};
  const MsrFilterRange range{.flags = 3, .base = 0x174, .nmsrs = 9, .bitmap = bitmap};
  vm->SetMsrFilter(1, {{range}});
  CHECK(kernel->Count(abi::kX86SetMsrFilter) == 1);

  MsrFilterRange longer = range;
  longer.nmsrs = 65;
  CHECK(THROWN(ArgumentError, vm->SetMsrFilter(1, {{range, longer}})).kind == ArgumentError::Kind::kRange);
  const std::vector<MsrFilterRange> many(17, range);
  CHECK(THROWN(ArgumentError, vm->SetMsrFilter(1, many)).kind == ArgumentError::Kind::kRange);
  CHECK(kernel->Count(abi::kX86SetMsrFilter) == 1);
}

TEST("XSAVE, XCRs and events go to the kernel and come back as they are") {
  WithKernel kernel;
  const auto vcpu = System::Open("/dev/kvm")->CreateVm(0)->CreateVcpu(0, [] {});
  abi::kvm_xsave xsave{};
  abi::kvm_xcrs xcrs{};
  abi::kvm_vcpu_events events{};
  const auto keep = [&kernel](auto& kept, unsigned long get, unsigned long set) {
    using State = std::remove_reference_t<decltype(kept)>;
    kernel->On(set, [&kept](int, uint64_t argument) { return kept = At<State>(argument), Ok(); });
    kernel->On(get, [&kept](int, uint64_t argument) { return At<State>(argument) = kept, Ok(); });
  };
  keep(xsave, abi::kGetXsave, abi::kSetXsave);
  keep(xcrs, abi::kGetXcrs, abi::kSetXcrs);
  keep(events, abi::kGetVcpuEvents, abi::kSetVcpuEvents);
  abi::kvm_xsave state{};
  state.region[128] = 3;
  vcpu->SetXsave(state);
  CHECK(vcpu->GetXsave().region[128] == 3);
  vcpu->SetXcrs({.nr_xcrs = 1, .flags = 0, .xcrs = {{0, 0, 7}}, .padding = {}});
  CHECK(vcpu->GetXcrs().xcrs[0].value == 7);
  abi::kvm_vcpu_events pending{};
  pending.exception.nr = 14;
  pending.exception.error_code = 2;
  vcpu->SetVcpuEvents(pending);
  CHECK(vcpu->GetVcpuEvents().exception.nr == 14 && vcpu->GetVcpuEvents().exception.error_code == 2);
  CHECK(THROWN(SysError, vcpu->GetRegs()).error == ENOTTY);
}

TEST("A repeated vCPU id never reaches the kernel; one that the kernel refused may be tried again") {
  WithKernel kernel;
  const auto vm = System::Open("/dev/kvm")->CreateVm(5);
  kernel->On(abi::kCreateVcpu, [](int, uint64_t) { return Fail(EIO); });
  CHECK(THROWN(SysError, vm->CreateVcpu(3, [] {})).error == EIO);
  kernel->On(abi::kCreateVcpu, [&](int, uint64_t) { return Ok(kernel->NewFd("vcpu")); });
  auto vcpu = vm->CreateVcpu(3, [] {});
  CHECK(THROWN(StateError, vm->CreateVcpu(3, [] {})).kind == StateError::Kind::kDuplicateVcpu);
  vcpu->Close();
  vcpu.reset();
  CHECK(THROWN(StateError, vm->CreateVcpu(3, [] {})).kind == StateError::Kind::kDuplicateVcpu);
  CHECK(kernel->Count(abi::kCreateVcpu) == 2);
}

TEST("Closing a system closes vCPUs, then guest_memfds, then VMs, then itself; each once") {
  WithKernel kernel;
  const auto system = System::Open("/dev/kvm");
  const auto vm = system->CreateVm(5);
  const auto memfd = vm->CreateGuestMemfd(4096, 0);
  const auto vcpu = vm->CreateVcpu(0, [] {});
  system->Close();
  system->Close();
  vm->Close();
  vcpu->Close();
  CHECK(kernel->closed == std::vector<std::string>({"vcpu", "memfd", "vm", "system"}));
  CHECK(THROWN(StateError, system->CreateVm(0)).kind == StateError::Kind::kClosed);
  CHECK(THROWN(StateError, system->CreateMemory(4096)).kind == StateError::Kind::kClosed);
  CHECK(THROWN(StateError, vm->CheckExtension(1)).kind == StateError::Kind::kClosed);
  CHECK(THROWN(StateError, memfd->PunchHole(0, 4096)).kind == StateError::Kind::kClosed);
  CHECK(THROWN(StateError, vcpu->GetRegs()).kind == StateError::Kind::kClosed);
  CHECK(THROWN(StateError, vcpu->Run({}, {})).kind == StateError::Kind::kClosed);
}

TEST("Memory is read and written inside its bounds only") {
  WithKernel kernel;
  const auto memory = System::Open("/dev/kvm")->CreateMemory(8192);
  std::array<std::byte, 16> bytes{std::byte{1}, std::byte{2}};
  memory->Write(8192 - 16, bytes);
  std::array<std::byte, 16> back{};
  memory->Read(8192 - 16, back);
  CHECK(back == bytes);
  for (const uint64_t offset : {uint64_t{8192 - 15}, uint64_t{8193}, UINT64_MAX}) {
    CHECK(THROWN(ArgumentError, memory->Read(offset, back)).kind == ArgumentError::Kind::kRange);
    CHECK(THROWN(ArgumentError, memory->Write(offset, bytes)).kind == ArgumentError::Kind::kRange);
  }
  memory->Read(8192, {});
  memory->Discard(4096, 4096);
  memory->Read(8192 - 16, back);
  CHECK(back == decltype(back){});
  CHECK(THROWN(ArgumentError, memory->Discard(1, 4096)).kind == ArgumentError::Kind::kRange);
  CHECK(THROWN(ArgumentError, memory->Discard(0, 100)).kind == ArgumentError::Kind::kRange);
}

}  // namespace
}  // namespace kvmtdx::test
