#include "shape.hpp"

#include <array>

namespace kvmtdx::preload {
namespace {

// asm-generic/ioctl.h: direction 31:30 (1: the kernel reads, 2: it writes), size 29:16, type 15:8, number 7:0.
constexpr uint32_t kKernelReads = 1;
constexpr uint32_t Number(uint32_t direction, uint32_t number, uint32_t size) {
  return direction << 30 | size << 16 | 0xAE << 8 | number;
}
constexpr uint32_t Io(uint32_t number) { return Number(0, number, 0); }
constexpr uint32_t Iow(uint32_t number, uint32_t size) { return Number(1, number, size); }
constexpr uint32_t Ior(uint32_t number, uint32_t size) { return Number(2, number, size); }
constexpr uint32_t Iowr(uint32_t number, uint32_t size) { return Number(3, number, size); }

constexpr uint16_t kCpuid2 = 8;
constexpr uint16_t kCpuidEntry2 = 40;
constexpr uint32_t kMaxCpuidEntries = 256;
constexpr uint32_t kMaxMsrs = 256;
/** KVM has no limit of its own but the size of a memory slot: of more than 1 MiB only the start is carried. */
constexpr uint32_t kMostDirtyBytes = 1 << 20;

// include/uapi/linux/kvm.h and arch/x86/include/uapi/asm/kvm.h of Linux 6.16; what is read: x86.c, kvm_main.c, cpuid.c.
// Not here: requests that read what their number says (most), or only give a value or nothing.
constexpr std::array kShapes = {
    Shape{.request = Io(0x80) /* KVM_RUN */, .effect = Effect::kRun},

    Shape{.request = Io(0x01) /* KVM_CREATE_VM */, .makes = Makes::kCloseOnExec},
    Shape{.request = Io(0x41) /* KVM_CREATE_VCPU */, .makes = Makes::kCloseOnExec},
    // guest_memfd.c takes its descriptor with no flags.
    Shape{.request = Iowr(0xd4, 64) /* KVM_CREATE_GUEST_MEMFD */, .length = 64, .makes = Makes::kKept},
    Shape{.request = Io(0xce) /* KVM_GET_STATS_FD */, .makes = Makes::kFile},
    Shape{.request = Iow(0x49, 160) /* KVM_SET_USER_MEMORY_REGION2 */, .length = 160, .descriptor_at = 40},

    // The entries of KVM_GET_EMULATED_CPUID are read too: their padding must be 0.
    Shape{.request = Iowr(0x09, 8) /* KVM_GET_EMULATED_CPUID */,
          .length = kCpuid2,
          .tail = {0, kCpuid2, kCpuidEntry2, kMaxCpuidEntries}},
    Shape{.request = Iow(0x8a, 8) /* KVM_SET_CPUID */, .length = 8, .tail = {0, 8, 24, kMaxCpuidEntries}},
    Shape{.request = Iow(0x90, 8) /* KVM_SET_CPUID2 */,
          .length = kCpuid2,
          .tail = {0, kCpuid2, kCpuidEntry2, kMaxCpuidEntries}},
    Shape{.request = Iowr(0x88, 8) /* KVM_GET_MSRS */, .length = 8, .tail = {0, 8, 16, kMaxMsrs}},
    Shape{.request = Iow(0x89, 8) /* KVM_SET_MSRS */, .length = 8, .tail = {0, 8, 16, kMaxMsrs}},
    Shape{.request = Iow(0x8b, 4) /* KVM_SET_SIGNAL_MASK */,
          .length = 4,
          .tail = {0, 4, 1, 8},
          .effect = Effect::kSignalMask},
    Shape{.request = Iow(0x6a, 8) /* KVM_SET_GSI_ROUTING */, .length = 8, .tail = {0, 8, 48, 4096}},
    Shape{.request = Iow(0xb2, 32) /* KVM_SET_PMU_EVENT_FILTER */, .length = 32, .tail = {4, 32, 8, 300}},
    // The count is of bytes and includes the header.
    Shape{.request = Iow(0xbf, 128) /* KVM_SET_NESTED_STATE */, .length = 128, .tail = {4, 0, 1, 128 + 0x2000}},

    // Written _IOR in the header, and read by KVM all the same.
    Shape{.request = Ior(0x63, 520) /* KVM_SET_IRQCHIP */, .length = 520},
    Shape{.request = Ior(0x66, 72) /* KVM_SET_PIT */, .length = 72},
    Shape{.request = Ior(0xbb, 16) /* KVM_MEMORY_ENCRYPT_REG_REGION */, .length = 16},
    Shape{.request = Ior(0xbc, 16) /* KVM_MEMORY_ENCRYPT_UNREG_REGION */, .length = 16},

    Shape{.request = Iow(0xe1, 24) /* KVM_SET_DEVICE_ATTR */,
          .length = 24,
          .follow = Follow::kPointer,
          .pointer_at = 16,
          .pointed = {.length = 8}},
    Shape{.request = Iow(0xac, 16) /* KVM_SET_ONE_REG */, .length = 16, .follow = Follow::kRegister, .pointer_at = 8},
    Shape{.request = Iowr(0xc0, 24) /* KVM_CLEAR_DIRTY_LOG */,
          .length = 24,
          .follow = Follow::kBitmap,
          .bitmap = {.pointer_at = 16, .bits_at = 4, .most_bytes = kMostDirtyBytes}},
    Shape{.request = Iow(0xc6, 392) /* KVM_X86_SET_MSR_FILTER */,
          .length = 392,
          .follow = Follow::kBitmap,
          .bitmap = {.pointer_at = 24, .bits_at = 12, .most_bytes = 0x600, .times = 16, .stride = 24}},

    // The number says eight bytes; it is struct kvm_tdx_cmd.
    Shape{.request = Iowr(0xba, 8) /* KVM_MEMORY_ENCRYPT_OP */,
          .length = 24,
          .follow = Follow::kTdxCommand,
          .pointer_at = 8},
};

struct TdxCommand {
  uint32_t id = 0;
  Pointed data = {};
};

// arch/x86/kvm/vmx/tdx.c. INIT_VCPU takes a value, FINALIZE_VM nothing; source pages are the model's to fetch.
constexpr std::array kTdxCommands = {
    // Of kvm_tdx_capabilities only cpuid.nent is read.
    TdxCommand{0 /* KVM_TDX_CAPABILITIES */, {.offset = 2048, .length = 8}},
    TdxCommand{1 /* KVM_TDX_INIT_VM */, {.length = 264, .tail = {256, 264, kCpuidEntry2, kMaxCpuidEntries}}},
    TdxCommand{3 /* KVM_TDX_INIT_MEM_REGION */, {.length = 24}},
    TdxCommand{5 /* KVM_TDX_GET_CPUID */, {.length = kCpuid2}},
};

}  // namespace

Shape ShapeOf(uint32_t request) {
  for (const Shape& shape : kShapes) {
    if (shape.request == request) return shape;
  }
  const bool read = (request >> 30 & kKernelReads) != 0;
  return {.request = request, .length = static_cast<uint16_t>(read ? request >> 16 & 0x3fff : 0)};
}

Pointed TdxCommandData(uint32_t id) {
  for (const TdxCommand& command : kTdxCommands) {
    if (command.id == id) return command.data;
  }
  return {};
}

}  // namespace kvmtdx::preload
