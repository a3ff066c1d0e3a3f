// KVM's user-space interface for x86-64, as far as this project uses it: our own statement of include/uapi/linux/kvm.h
// and arch/x86/include/uapi/asm/kvm.h (Linux 6.16), because the headers of a build machine are usually older than TDX.
// Structs keep the kernel's names; native/core/abi_checks.cc pins every size and offset, native/test/layout.cc compares
// them with the system's header.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kvmtdx::abi {

// ---- ioctl numbers (asm-generic/ioctl.h): direction 31:30, size 29:16, type 15:8, number 7:0 ----
inline constexpr unsigned long kKvmIo = 0xAE;
constexpr unsigned long Encode(unsigned long direction, unsigned long number, std::size_t size) {
  return direction << 30 | static_cast<unsigned long>(size) << 16 | kKvmIo << 8 | number;
}
constexpr unsigned long Io(unsigned long number) { return Encode(0, number, 0); }
template <typename T>
constexpr unsigned long Iow(unsigned long number) {
  return Encode(1, number, sizeof(T));
}
template <typename T>
constexpr unsigned long Ior(unsigned long number) {
  return Encode(2, number, sizeof(T));
}
template <typename T>
constexpr unsigned long Iowr(unsigned long number) {
  return Encode(3, number, sizeof(T));
}

// ---- structs ----
struct kvm_cpuid_entry2 {
  uint32_t function;
  uint32_t index;
  uint32_t flags;
  uint32_t eax;
  uint32_t ebx;
  uint32_t ecx;
  uint32_t edx;
  uint32_t padding[3];
};

/** The entries follow; see WithEntries in cpuid.hpp. */
struct kvm_cpuid2 {
  uint32_t nent;
  uint32_t padding;
};

struct kvm_regs {
  uint64_t rax, rbx, rcx, rdx;
  uint64_t rsi, rdi, rsp, rbp;
  uint64_t r8, r9, r10, r11;
  uint64_t r12, r13, r14, r15;
  uint64_t rip, rflags;
};

struct kvm_segment {
  uint64_t base;
  uint32_t limit;
  uint16_t selector;
  uint8_t type;
  uint8_t present, dpl, db, s, l, g, avl;
  uint8_t unusable;
  uint8_t padding;
};

struct kvm_dtable {
  uint64_t base;
  uint16_t limit;
  uint16_t padding[3];
};

struct kvm_sregs {
  kvm_segment cs, ds, es, fs, gs, ss;
  kvm_segment tr, ldt;
  kvm_dtable gdt, idt;
  uint64_t cr0, cr2, cr3, cr4, cr8;
  uint64_t efer;
  uint64_t apic_base;
  uint64_t interrupt_bitmap[4];
};

struct kvm_enable_cap {
  uint32_t cap;
  uint32_t flags;
  uint64_t args[4];
  uint8_t pad[64];
};

struct kvm_userspace_memory_region {
  uint32_t slot;
  uint32_t flags;
  uint64_t guest_phys_addr;
  uint64_t memory_size;
  uint64_t userspace_addr;
};

struct kvm_userspace_memory_region2 {
  uint32_t slot;
  uint32_t flags;
  uint64_t guest_phys_addr;
  uint64_t memory_size;
  uint64_t userspace_addr;
  uint64_t guest_memfd_offset;
  uint32_t guest_memfd;
  uint32_t pad1;
  uint64_t pad2[14];
};

struct kvm_memory_attributes {
  uint64_t address;
  uint64_t size;
  uint64_t attributes;
  uint64_t flags;
};

struct kvm_create_guest_memfd {
  uint64_t size;
  uint64_t flags;
  uint64_t reserved[6];
};

// ---- request numbers ----
inline constexpr unsigned long kGetApiVersion = Io(0x00);
inline constexpr unsigned long kCreateVm = Io(0x01);
inline constexpr unsigned long kCheckExtension = Io(0x03);
inline constexpr unsigned long kGetVcpuMmapSize = Io(0x04);
inline constexpr unsigned long kGetSupportedCpuid = Iowr<kvm_cpuid2>(0x05);
inline constexpr unsigned long kCreateVcpu = Io(0x41);
inline constexpr unsigned long kSetUserMemoryRegion = Iow<kvm_userspace_memory_region>(0x46);
inline constexpr unsigned long kSetTssAddr = Io(0x47);
inline constexpr unsigned long kSetIdentityMapAddr = Iow<uint64_t>(0x48);
inline constexpr unsigned long kSetUserMemoryRegion2 = Iow<kvm_userspace_memory_region2>(0x49);
inline constexpr unsigned long kRun = Io(0x80);
inline constexpr unsigned long kGetRegs = Ior<kvm_regs>(0x81);
inline constexpr unsigned long kSetRegs = Iow<kvm_regs>(0x82);
inline constexpr unsigned long kGetSregs = Ior<kvm_sregs>(0x83);
inline constexpr unsigned long kSetSregs = Iow<kvm_sregs>(0x84);
inline constexpr unsigned long kSetCpuid2 = Iow<kvm_cpuid2>(0x90);
inline constexpr unsigned long kSetTscKhz = Io(0xa2);
inline constexpr unsigned long kGetTscKhz = Io(0xa3);
inline constexpr unsigned long kEnableCap = Iow<kvm_enable_cap>(0xa3);
inline constexpr unsigned long kMemoryEncryptOp = Iowr<unsigned long>(0xba);
inline constexpr unsigned long kSetMemoryAttributes = Iow<kvm_memory_attributes>(0xd2);
inline constexpr unsigned long kCreateGuestMemfd = Iowr<kvm_create_guest_memfd>(0xd4);

inline constexpr std::size_t kPageSize = 4096;

}  // namespace kvmtdx::abi
