#include "vm_handle.hpp"

#include <algorithm>
#include <array>
#include <vector>

#include "../core/error.hpp"
#include "memory_handle.hpp"
#include "vcpu_handle.hpp"

namespace kvmtdx::node {
namespace {

/** (slot, flags, gpa, size, memory | null, memoryOffset), and for the second form (guestMemfd | null, its offset). */
MemorySlot Slot(const Arguments& arguments, bool second_form) {
  MemorySlot slot{
      .slot = arguments.U32(0, "slot"),
      .flags = arguments.U32(1, "flags"),
      .gpa = arguments.U64(2, "gpa"),
      .size = arguments.Size(3, "size"),
  };
  if (!arguments.IsNull(4)) slot.memory = &GuestMemoryHandle::From(arguments[4], "memory").core();
  slot.memory_offset = arguments.Size(5, "memoryOffset");
  if (second_form) {
    if (!arguments.IsNull(6)) slot.guest_memfd = &GuestMemfdHandle::From(arguments[6], "guestMemfd").core();
    slot.guest_memfd_offset = arguments.Size(7, "guestMemfdOffset");
  }
  return slot;
}

}  // namespace

VmHandle::Properties VmHandle::Methods() {
  return {
      Method<&VmHandle::Serial>("serial"),
      Method<&VmHandle::EnableCap>("enableCap"),
      Method<&VmHandle::CreateVcpu>("createVcpu"),
      Method<&VmHandle::SetTscKhz>("setTscKhz"),
      Method<&VmHandle::GetTscKhz>("getTscKhz"),
      Method<&VmHandle::SetUserMemoryRegion>("setUserMemoryRegion"),
      Method<&VmHandle::SetUserMemoryRegion2>("setUserMemoryRegion2"),
      Method<&VmHandle::CreateGuestMemfd>("createGuestMemfd"),
      Method<&VmHandle::SetMemoryAttributes>("setMemoryAttributes"),
      Method<&VmHandle::SetTssAddr>("setTssAddr"),
      Method<&VmHandle::SetIdentityMapAddr>("setIdentityMapAddr"),
      Method<&VmHandle::SetMsrFilter>("setMsrFilter"),
      Method<&VmHandle::TdxCapabilities>("tdxCapabilities"),
      Method<&VmHandle::TdxInitVm>("tdxInitVm"),
      Method<&VmHandle::TdxFinalizeVm>("tdxFinalizeVm"),
      Method<&VmHandle::TdxTerminateVm>("tdxTerminateVm"),
      Method<&VmHandle::Close>("close"),
      Method<&VmHandle::IsClosed>("isClosed"),
  };
}

VmHandle::VmHandle(const Napi::CallbackInfo& info) : Handle(info), serial_(environment().NewSerial()) {
  environment().vms_by_serial.emplace(serial_, &core());
}

VmHandle::~VmHandle() { environment().vms_by_serial.erase(serial_); }

/** The number that vmCheckExtension() of the addon takes. */
Napi::Value VmHandle::Serial(const Arguments& arguments) const {
  return Napi::Number::New(arguments.env(), static_cast<double>(serial_));
}

/** enableCap(capability, flags, args: BigUint64Array of 4) */
Napi::Value VmHandle::EnableCap(const Arguments& arguments) {
  const uint32_t capability = arguments.U32(0, "capability");
  const uint32_t flags = arguments.U32(1, "flags");
  std::array<uint64_t, 4> args{};
  std::ranges::copy(arguments.U64s(2, "args", args.size()), args.begin());
  core().EnableCap(capability, flags, args);
  return arguments.env().Undefined();
}

Napi::Value VmHandle::CreateVcpu(const Arguments& arguments) {
  return VcpuHandle::Make(environment(), core(), arguments.U32(0, "id"));
}

Napi::Value VmHandle::SetTscKhz(const Arguments& arguments) {
  core().SetTscKhz(arguments.U32(0, "khz"));
  return arguments.env().Undefined();
}

Napi::Value VmHandle::GetTscKhz(const Arguments& arguments) {
  return Napi::Number::New(arguments.env(), core().GetTscKhz());
}

Napi::Value VmHandle::SetUserMemoryRegion(const Arguments& arguments) {
  core().SetUserMemoryRegion(Slot(arguments, false));
  return arguments.env().Undefined();
}

Napi::Value VmHandle::SetUserMemoryRegion2(const Arguments& arguments) {
  core().SetUserMemoryRegion2(Slot(arguments, true));
  return arguments.env().Undefined();
}

/** createGuestMemfd(size, flags: bigint) */
Napi::Value VmHandle::CreateGuestMemfd(const Arguments& arguments) {
  // One after the other, here and below: C++ orders the arguments of a call as it likes, and the first wrong one is told.
  const uint64_t size = arguments.Size(0, "size");
  const uint64_t flags = arguments.U64(1, "flags");
  return GuestMemfdHandle::Make(environment(), core().CreateGuestMemfd(size, flags));
}

Napi::Value VmHandle::SetMemoryAttributes(const Arguments& arguments) {
  const uint64_t gpa = arguments.U64(0, "gpa");
  const uint64_t size = arguments.U64(1, "size");
  core().SetMemoryAttributes(gpa, size, arguments.U64(2, "attributes"));
  return arguments.env().Undefined();
}

Napi::Value VmHandle::SetTssAddr(const Arguments& arguments) {
  core().SetTssAddr(arguments.Size(0, "gpa"));
  return arguments.env().Undefined();
}

Napi::Value VmHandle::SetIdentityMapAddr(const Arguments& arguments) {
  core().SetIdentityMapAddr(arguments.U64(0, "gpa"));
  return arguments.env().Undefined();
}

/** setMsrFilter(flags, ranges: three numbers each (flags, base, MSRs), bitmaps: one behind the other) */
Napi::Value VmHandle::SetMsrFilter(const Arguments& arguments) {
  constexpr size_t kNumbersPerRange = 3;
  const uint32_t flags = arguments.U32(0, "flags");
  const auto numbers = arguments.U32s(1, "ranges");
  std::span<const uint8_t> bitmaps = arguments.U8s(2, "bitmaps");
  std::vector<MsrFilterRange> ranges;
  for (size_t at = 0; at + kNumbersPerRange <= numbers.size(); at += kNumbersPerRange) {
    MsrFilterRange range{.flags = numbers[at], .base = numbers[at + 1], .nmsrs = numbers[at + 2], .bitmap = {}};
    range.bitmap = bitmaps.first(std::min(bitmaps.size(), range.BitmapBytes()));
    bitmaps = bitmaps.subspan(range.bitmap.size());
    ranges.push_back(range);
  }
  core().SetMsrFilter(flags, ranges);
  return arguments.env().Undefined();
}

/** { fixed: the six u64 before the reserved ones, cpuid } */
Napi::Value VmHandle::TdxCapabilities(const Arguments& arguments) {
  const auto capabilities = core().GetTdxCapabilities();
  const auto& fixed = capabilities.fixed;
  const std::array<uint64_t, 6> numbers{
      fixed.supported_attrs,           fixed.supported_xfam,
      fixed.kernel_tdvmcallinfo_1_r11, fixed.user_tdvmcallinfo_1_r11,
      fixed.kernel_tdvmcallinfo_1_r12, fixed.user_tdvmcallinfo_1_r12,
  };
  auto result = Napi::Object::New(arguments.env());
  result.Set("fixed", FromU64s(arguments.env(), numbers));
  result.Set("cpuid", FromCpuid(arguments.env(), capabilities.cpuid));
  return result;
}

/** tdxInitVm(attributes, xfam, measurement: 144 bytes, cpuid) */
Napi::Value VmHandle::TdxInitVm(const Arguments& arguments) {
  const CpuidEntries cpuid = arguments.Cpuid(3, "cpuid");
  kvmtdx::TdxInitVm params{
      .attributes = arguments.U64(0, "attributes"),
      .xfam = arguments.U64(1, "xfam"),
      .measurement = {},
      .cpuid = cpuid,
  };
  const auto measurement = std::as_bytes(arguments.U8s(2, "measurement"));
  if (measurement.size() != params.measurement.size()) ThrowRange("measurement must have 144 bytes");
  std::ranges::copy(measurement, params.measurement.begin());
  core().InitTdx(params);
  return arguments.env().Undefined();
}

Napi::Value VmHandle::TdxFinalizeVm(const Arguments& arguments) {
  core().FinalizeTdx();
  return arguments.env().Undefined();
}

Napi::Value VmHandle::TdxTerminateVm(const Arguments& arguments) {
  return Napi::Boolean::New(arguments.env(), core().TerminateTdx());
}

}  // namespace kvmtdx::node
