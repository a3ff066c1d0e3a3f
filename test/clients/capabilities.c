/* What a host says of TDX: the VM type, KVM_TDX_CAPABILITIES with a buffer that grows, and what is refused. */
#include "client.h"

static void grows(int vm) {
  struct kvm_tdx_capabilities* caps = calloc(1, sizeof *caps + 256 * sizeof(struct kvm_cpuid_entry2));
  uint32_t needed = 0;
  for (uint32_t entries = 0; entries <= 256 && needed == 0; entries++) {
    caps->cpuid.nent = entries;
    if (tdx(vm, KVM_TDX_CAPABILITIES, 0, caps, NULL) == 0) {
      needed = caps->cpuid.nent;
      check(needed == entries, "the least buffer that is taken (%u) is exactly filled (%u)", entries, needed);
    } else if (errno != E2BIG || caps->cpuid.nent != entries) {
      check(false, "a buffer of %u entries is E2BIG and left alone", entries);
      break;
    }
  }
  check(needed > 1, "a TDX host has configurable CPUID leaves");
  caps->cpuid.nent = needed + 50;
  succeeds(tdx(vm, KVM_TDX_CAPABILITIES, 0, caps, NULL), "a buffer with room to spare");
  check(caps->cpuid.nent == needed, "nent is then what was written");
  free(caps);
}

static void at_the_end_of_memory(int vm) {
  struct kvm_tdx_capabilities* plenty = capabilities_of(vm);
  const uint32_t entries = plenty->cpuid.nent;
  const size_t size = sizeof *plenty + entries * sizeof(struct kvm_cpuid_entry2);
  uint8_t* pages = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  mprotect(pages + 7 * PAGE, PAGE, PROT_NONE);
  struct kvm_tdx_capabilities* last = (struct kvm_tdx_capabilities*)(pages + 7 * PAGE - size);
  last->cpuid.nent = entries;
  succeeds(tdx(vm, KVM_TDX_CAPABILITIES, 0, last, NULL), "a buffer whose last byte is the last there is");
  check(memcmp(plenty, last, size) == 0, "it says the same");
  last = (struct kvm_tdx_capabilities*)((uint8_t*)last + 8);
  last->cpuid.nent = entries;
  fails(tdx(vm, KVM_TDX_CAPABILITIES, 0, last, NULL), EFAULT, "a buffer that ends eight bytes too early");
  munmap(pages, 8 * PAGE);
  free(plenty);
}

int main(void) {
  const int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  must(kvm, "open of /dev/kvm");
  check(ioctl(kvm, KVM_GET_API_VERSION, 0) == 12, "KVM_GET_API_VERSION is 12");
  check(ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_VM_TYPES) >> KVM_X86_TDX_VM & 1, "KVM_CAP_VM_TYPES has KVM_X86_TDX_VM");
  check(ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_IMMEDIATE_EXIT) == 1, "KVM_CAP_IMMEDIATE_EXIT is there");

  const int vm = ioctl(kvm, KVM_CREATE_VM, KVM_X86_TDX_VM);
  must(vm, "KVM_CREATE_VM");
  check((fcntl(vm, F_GETFD) & FD_CLOEXEC) != 0, "a VM's descriptor is closed by exec");
  check(ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS) > 0, "KVM_CAP_MAX_VCPUS of the VM is positive");
  fails(ioctl(kvm, KVM_CREATE_VM, 32), EINVAL, "KVM_CREATE_VM of a type that no kernel has");

  struct kvm_tdx_capabilities* caps = capabilities_of(vm);
  check(caps->supported_attrs != 0, "supported_attrs is not empty");
  check((caps->supported_xfam & 3) == 3, "supported_xfam has x87 and SSE");
  free(caps);
  grows(vm);
  at_the_end_of_memory(vm);

  struct kvm_tdx_cmd command = {.id = KVM_TDX_CAPABILITIES, .flags = 1};
  fails(ioctl(vm, KVM_MEMORY_ENCRYPT_OP, &command), EINVAL, "KVM_TDX_CAPABILITIES with flags");
  command = (struct kvm_tdx_cmd){.id = KVM_TDX_CAPABILITIES, .hw_error = 1};
  fails(ioctl(vm, KVM_MEMORY_ENCRYPT_OP, &command), EINVAL, "KVM_TDX_CAPABILITIES with hw_error set");
  command = (struct kvm_tdx_cmd){.id = 77};
  fails(ioctl(vm, KVM_MEMORY_ENCRYPT_OP, &command), EINVAL, "a sub-command that does not exist");

  const int plain = ioctl(kvm, KVM_CREATE_VM, 0);
  must(plain, "KVM_CREATE_VM of a plain VM");
  command = (struct kvm_tdx_cmd){.id = KVM_TDX_CAPABILITIES};
  fails(ioctl(plain, KVM_MEMORY_ENCRYPT_OP, &command), ENOTTY, "KVM_TDX_CAPABILITIES of a VM that is no TD");
  close(plain);
  close(vm);
  close(kvm);
  fails(ioctl(vm, KVM_CHECK_EXTENSION, 0), EBADF, "a request on a closed descriptor");
  return finish();
}
