/*
 * KVM's interface as far as the clients need it, written from the kernel's documentation
 * (Documentation/virt/kvm/api.rst, x86/intel-tdx.rst): the headers of a build machine are usually older than TDX.
 */
#pragma once

#include <stdint.h>
#include <sys/ioctl.h>

#define KVM_IO 0xAE

#define KVM_GET_API_VERSION _IO(KVM_IO, 0x00)
#define KVM_CREATE_VM _IO(KVM_IO, 0x01)
#define KVM_CHECK_EXTENSION _IO(KVM_IO, 0x03)
#define KVM_GET_VCPU_MMAP_SIZE _IO(KVM_IO, 0x04)
#define KVM_GET_SUPPORTED_CPUID _IOWR(KVM_IO, 0x05, struct kvm_cpuid2)
#define KVM_CREATE_VCPU _IO(KVM_IO, 0x41)
#define KVM_SET_USER_MEMORY_REGION _IOW(KVM_IO, 0x46, struct kvm_userspace_memory_region)
#define KVM_SET_USER_MEMORY_REGION2 _IOW(KVM_IO, 0x49, struct kvm_userspace_memory_region2)
#define KVM_RUN _IO(KVM_IO, 0x80)
#define KVM_GET_REGS _IOR(KVM_IO, 0x81, uint64_t[18])
#define KVM_SET_REGS _IOW(KVM_IO, 0x82, uint64_t[18])
#define KVM_GET_MSRS _IOWR(KVM_IO, 0x88, struct kvm_msrs)
#define KVM_SET_MSRS _IOW(KVM_IO, 0x89, struct kvm_msrs)
#define KVM_SET_SIGNAL_MASK _IOW(KVM_IO, 0x8b, struct kvm_signal_mask)
#define KVM_SET_CPUID2 _IOW(KVM_IO, 0x90, struct kvm_cpuid2)
#define KVM_GET_MP_STATE _IOR(KVM_IO, 0x98, uint32_t)
#define KVM_SET_TSC_KHZ _IO(KVM_IO, 0xa2)
#define KVM_GET_TSC_KHZ _IO(KVM_IO, 0xa3)
#define KVM_ENABLE_CAP _IOW(KVM_IO, 0xa3, struct kvm_enable_cap)
#define KVM_MEMORY_ENCRYPT_OP _IOWR(KVM_IO, 0xba, unsigned long)
#define KVM_X86_SET_MSR_FILTER _IOW(KVM_IO, 0xc6, uint64_t[49])
#define KVM_SET_MEMORY_ATTRIBUTES _IOW(KVM_IO, 0xd2, struct kvm_memory_attributes)
#define KVM_CREATE_GUEST_MEMFD _IOWR(KVM_IO, 0xd4, struct kvm_create_guest_memfd)

#define KVM_CAP_USER_MEMORY 3
#define KVM_CAP_MAX_VCPUS 66
#define KVM_CAP_SPLIT_IRQCHIP 121
#define KVM_CAP_IMMEDIATE_EXIT 136
#define KVM_CAP_VM_TYPES 235
#define KVM_CAP_X86_APIC_BUS_CYCLES_NS 237

#define KVM_X86_TDX_VM 5
#define KVM_MEM_GUEST_MEMFD (1u << 2)
#define KVM_MEMORY_ATTRIBUTE_PRIVATE (1ull << 3)
#define KVM_CPUID_FLAG_SIGNIFICANT_INDEX 1

struct kvm_userspace_memory_region {
  uint32_t slot, flags;
  uint64_t guest_phys_addr, memory_size, userspace_addr;
};

struct kvm_userspace_memory_region2 {
  uint32_t slot, flags;
  uint64_t guest_phys_addr, memory_size, userspace_addr, guest_memfd_offset;
  uint32_t guest_memfd, pad1;
  uint64_t pad2[14];
};

struct kvm_create_guest_memfd {
  uint64_t size, flags, reserved[6];
};

struct kvm_memory_attributes {
  uint64_t address, size, attributes, flags;
};

struct kvm_enable_cap {
  uint32_t cap, flags;
  uint64_t args[4];
  uint8_t pad[64];
};

struct kvm_cpuid_entry2 {
  uint32_t function, index, flags, eax, ebx, ecx, edx, padding[3];
};

struct kvm_cpuid2 {
  uint32_t nent, padding;
  struct kvm_cpuid_entry2 entries[];
};

struct kvm_msrs {
  uint32_t nmsrs, pad;
  struct {
    uint32_t index, reserved;
    uint64_t data;
  } entries[];
};

struct kvm_signal_mask {
  uint32_t len;
  uint8_t sigset[];
};

enum {
  KVM_TDX_CAPABILITIES = 0,
  KVM_TDX_INIT_VM,
  KVM_TDX_INIT_VCPU,
  KVM_TDX_INIT_MEM_REGION,
  KVM_TDX_FINALIZE_VM,
  KVM_TDX_GET_CPUID,
};

#define KVM_TDX_MEASURE_MEMORY_REGION 1u

struct kvm_tdx_cmd {
  uint32_t id, flags;
  uint64_t data, hw_error;
};

struct kvm_tdx_capabilities {
  uint64_t supported_attrs, supported_xfam;
  uint64_t kernel_tdvmcallinfo_1_r11, user_tdvmcallinfo_1_r11, kernel_tdvmcallinfo_1_r12, user_tdvmcallinfo_1_r12;
  uint64_t reserved[250];
  struct kvm_cpuid2 cpuid;
};

struct kvm_tdx_init_vm {
  uint64_t attributes, xfam, mrconfigid[6], mrowner[6], mrownerconfig[6], reserved[12];
  struct kvm_cpuid2 cpuid;
};

struct kvm_tdx_init_mem_region {
  uint64_t source_addr, gpa, nr_pages;
};

#define KVM_EXIT_IO 2
#define KVM_EXIT_SYSTEM_EVENT 24
#define KVM_EXIT_MEMORY_FAULT 39
#define KVM_EXIT_IO_IN 0
#define KVM_EXIT_IO_OUT 1
#define KVM_SYSTEM_EVENT_TDX_FATAL 7

struct kvm_run {
  uint8_t request_interrupt_window, immediate_exit, padding1[6];
  uint32_t exit_reason;
  uint8_t ready_for_interrupt_injection, if_flag;
  uint16_t flags;
  uint64_t cr8, apic_base;
  union {
    struct {
      uint8_t direction, size;
      uint16_t port;
      uint32_t count;
      uint64_t data_offset;
    } io;
    struct {
      uint32_t type, ndata;
      uint64_t data[16];
    } system_event;
    struct {
      uint64_t flags, gpa, size;
    } memory_fault;
    char padding[256];
  };
};
