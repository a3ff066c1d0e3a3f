/* Bad pointers wherever a request takes one: EFAULT, or the errno of a check that comes before the access; never harm.
 */
#include "client.h"

static uint8_t *good, *barred;

/** NULL, a kernel's address, no canonical address, unmapped, mapped but not for us, and the last byte of memory. */
static const void* bad(int which) {
  const void* list[] = {NULL,        (void*)0xffff888000000000ull, (void*)0x8000000000000000ull, (void*)0x10000, barred,
                        (void*)~0ull};
  return list[which];
}
#define BAD 6

/** A structure of `size` bytes of which the last is one too far. */
static void* cut(size_t size, size_t missing) { return barred - (size - missing); }

static void requests(int fd, const char* whose) {
  static const struct {
    unsigned long request;
    size_t size;
    const char* name;
  } all[] = {
      {KVM_MEMORY_ENCRYPT_OP, sizeof(struct kvm_tdx_cmd), "KVM_MEMORY_ENCRYPT_OP"},
      {KVM_ENABLE_CAP, sizeof(struct kvm_enable_cap), "KVM_ENABLE_CAP"},
  };
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    for (int which = 0; which < BAD; which++) {
      fails(ioctl(fd, all[i].request, bad(which)), EFAULT, all[i].name);
    }
    fails(ioctl(fd, all[i].request, cut(all[i].size, 1)), EFAULT, whose);
  }
}

static void vm_requests(int vm) {
  for (int which = 0; which < BAD; which++) {
    fails(ioctl(vm, KVM_SET_USER_MEMORY_REGION2, bad(which)), EFAULT, "KVM_SET_USER_MEMORY_REGION2");
    fails(ioctl(vm, KVM_SET_USER_MEMORY_REGION, bad(which)), EFAULT, "KVM_SET_USER_MEMORY_REGION");
    fails(ioctl(vm, KVM_SET_MEMORY_ATTRIBUTES, bad(which)), EFAULT, "KVM_SET_MEMORY_ATTRIBUTES");
    fails(ioctl(vm, KVM_CREATE_GUEST_MEMFD, bad(which)), EFAULT, "KVM_CREATE_GUEST_MEMFD");
    fails(tdx(vm, KVM_TDX_INIT_VM, 0, bad(which), NULL), EFAULT, "KVM_TDX_INIT_VM");
    /* 2 KiB behind the address is where the count is. */
    fails(tdx(vm, KVM_TDX_CAPABILITIES, 0, bad(which), NULL), EFAULT, "KVM_TDX_CAPABILITIES");
  }
}

static void structures(int kvm, int vm) {
  struct kvm_tdx_init_vm* init = default_parameters(kvm, vm);
  const size_t size = sizeof *init + init->cpuid.nent * sizeof(struct kvm_cpuid_entry2);
  struct kvm_tdx_init_vm* last = cut(size, 1);
  memcpy(last, init, size - 1);
  fails(tdx(vm, KVM_TDX_INIT_VM, 0, last, NULL), EFAULT, "KVM_TDX_INIT_VM whose last CPUID entry is cut");
  last = cut(sizeof *init, 0);
  memcpy(last, init, sizeof *init);
  fails(tdx(vm, KVM_TDX_INIT_VM, 0, last, NULL), EFAULT, "KVM_TDX_INIT_VM whose CPUID entries are missing");
  last->cpuid.nent = 0xffffffff;
  fails(tdx(vm, KVM_TDX_INIT_VM, 0, last, NULL), E2BIG, "KVM_TDX_INIT_VM with 2^32 - 1 of them");

  struct kvm_cpuid2* cpuid = cut(sizeof *cpuid, 0);
  cpuid->nent = 1000;
  fails(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, cpuid), EFAULT, "KVM_GET_SUPPORTED_CPUID into nothing");
  cpuid->nent = 1;
  fails(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, cpuid), E2BIG, "KVM_GET_SUPPORTED_CPUID with too small a count");

  struct kvm_tdx_cmd* command = cut(sizeof *command, 0);
  *command = (struct kvm_tdx_cmd){.id = KVM_TDX_INIT_VM, .data = (uint64_t)init};
  mprotect(good, 2 * PAGE, PROT_READ);
  fails(ioctl(vm, KVM_MEMORY_ENCRYPT_OP, command), EFAULT, "a command whose hw_error cannot be written back");
  mprotect(good, 2 * PAGE, PROT_READ | PROT_WRITE);
  fails(ioctl(vm, KVM_MEMORY_ENCRYPT_OP, command), EINVAL, "which was carried out all the same");
  free(init);
}

static void vcpu_requests(const struct td* td) {
  for (int which = 0; which < BAD; which++) {
    fails(ioctl(td->vcpu, KVM_SET_CPUID2, bad(which)), EFAULT, "KVM_SET_CPUID2");
    fails(ioctl(td->vcpu, KVM_MEMORY_ENCRYPT_OP, bad(which)), EFAULT, "KVM_MEMORY_ENCRYPT_OP of a vCPU");
    fails(tdx(td->vcpu, KVM_TDX_GET_CPUID, 0, bad(which), NULL), EFAULT, "KVM_TDX_GET_CPUID");
    fails(tdx(td->vcpu, KVM_TDX_INIT_MEM_REGION, 0, bad(which), NULL), EFAULT, "KVM_TDX_INIT_MEM_REGION");
    if (bad(which) != NULL) fails(ioctl(td->vcpu, KVM_SET_SIGNAL_MASK, bad(which)), EFAULT, "KVM_SET_SIGNAL_MASK");
  }
  struct kvm_signal_mask* mask = cut(sizeof *mask, 0);
  mask->len = 8;
  fails(ioctl(td->vcpu, KVM_SET_SIGNAL_MASK, mask), EFAULT, "KVM_SET_SIGNAL_MASK whose signals are cut");
  mask->len = 9;
  fails(ioctl(td->vcpu, KVM_SET_SIGNAL_MASK, mask), EINVAL, "KVM_SET_SIGNAL_MASK of nine bytes");
  const struct kvm_cpuid2 one = {.nent = 1};
  void* cpuid = memcpy(cut(sizeof one + sizeof(struct kvm_cpuid_entry2), 1), &one, sizeof one);
  fails(ioctl(td->vcpu, KVM_SET_CPUID2, cpuid), EFAULT, "KVM_SET_CPUID2 whose entry is cut");
  fails(init_mem_region(td->vcpu, barred, guest_base(), 1, 0), EFAULT,
        "KVM_TDX_INIT_MEM_REGION from a source that is barred");
  fails(init_mem_region(td->vcpu, NULL, guest_base(), 1, 0), EFAULT, "KVM_TDX_INIT_MEM_REGION from no source");
}

int main(void) {
  good = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  barred = good + 2 * PAGE;
  mprotect(barred, PAGE, PROT_NONE);

  struct td td = make_td(VM_CREATED, GUEST_EXITS);
  requests(td.vm, "a structure of a VM's request that is cut by a byte");
  vm_requests(td.vm);
  for (int which = 0; which < BAD; which++) {
    fails(ioctl(td.kvm, KVM_GET_SUPPORTED_CPUID, bad(which)), EFAULT, "KVM_GET_SUPPORTED_CPUID");
  }
  structures(td.kvm, td.vm);
  free_td(&td);

  td = make_td(MEMORY_ADDED, GUEST_EXITS);
  /* A page that is not there yet: a hole lets it be added once more. */
  succeeds(set_attributes(td.vm, guest_base(), PAGE, 0), "the page becomes shared");
  succeeds(fallocate(td.memfd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, PAGE), "a hole in its guest_memfd");
  succeeds(set_attributes(td.vm, guest_base(), PAGE, KVM_MEMORY_ATTRIBUTE_PRIVATE), "the page becomes private again");
  vcpu_requests(&td);
  free_td(&td);
  return finish();
}
