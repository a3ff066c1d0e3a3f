/* Requests out of order, or with what they do not take: each has its errno, none does harm. */
#include "client.h"

static struct kvm_tdx_init_mem_region page_of(const void* source) {
  return (struct kvm_tdx_init_mem_region){(uint64_t)source, guest_base(), 1};
}

static void before_init_vm(void) {
  struct td td = make_td(VM_CREATED, GUEST_EXITS);
  uint64_t hw_error = 0;
  fails(ioctl(td.vm, KVM_CREATE_VCPU, 0), EIO, "KVM_CREATE_VCPU before KVM_TDX_INIT_VM");
  fails(tdx(td.vm, KVM_TDX_FINALIZE_VM, 0, NULL, &hw_error), EINVAL, "KVM_TDX_FINALIZE_VM before KVM_TDX_INIT_VM");
  fails(tdx(td.vm, KVM_TDX_INIT_VCPU, 0, NULL, NULL), EINVAL, "KVM_TDX_INIT_VCPU on the VM");
  fails(tdx(td.vm, KVM_TDX_INIT_MEM_REGION, 0, NULL, NULL), EINVAL, "KVM_TDX_INIT_MEM_REGION on the VM");
  fails(tdx(td.vm, KVM_TDX_GET_CPUID, 0, NULL, NULL), EINVAL, "KVM_TDX_GET_CPUID on the VM");
  free_td(&td);
}

static void init_vm(void) {
  struct td td = make_td(VM_CREATED, GUEST_EXITS);
  struct kvm_tdx_init_vm* init = default_parameters(td.kvm, td.vm);
  fails(tdx(td.vm, KVM_TDX_INIT_VM, 1, init, NULL), EINVAL, "KVM_TDX_INIT_VM with flags");
  init->reserved[3] = 1;
  fails(tdx(td.vm, KVM_TDX_INIT_VM, 0, init, NULL), EINVAL, "KVM_TDX_INIT_VM with a reserved field set");
  init->reserved[3] = 0;
  init->attributes = 1ull << 62;
  fails(tdx(td.vm, KVM_TDX_INIT_VM, 0, init, NULL), EINVAL, "KVM_TDX_INIT_VM with an attribute that is not supported");
  init->attributes = 0;
  init->xfam |= 1ull << 40;
  fails(tdx(td.vm, KVM_TDX_INIT_VM, 0, init, NULL), EINVAL, "KVM_TDX_INIT_VM with an xfam bit that is not supported");
  init->xfam = 3;
  const uint32_t entries = init->cpuid.nent;
  init->cpuid.nent = 257;
  fails(tdx(td.vm, KVM_TDX_INIT_VM, 0, init, NULL), E2BIG, "KVM_TDX_INIT_VM with 257 CPUID entries");
  init->cpuid.nent = 0;
  fails(tdx(td.vm, KVM_TDX_INIT_VM, 0, init, NULL), EINVAL, "KVM_TDX_INIT_VM without CPUID(0x80000008)");
  init->cpuid.nent = entries;
  succeeds(tdx(td.vm, KVM_TDX_INIT_VM, 0, init, NULL), "KVM_TDX_INIT_VM after all of these");
  fails(tdx(td.vm, KVM_TDX_INIT_VM, 0, init, NULL), EINVAL, "KVM_TDX_INIT_VM again");
  free(init);
  free_td(&td);
}

static void without_split_irqchip(void) {
  const int kvm = open("/dev/kvm", O_RDWR);
  const int vm = ioctl(kvm, KVM_CREATE_VM, KVM_X86_TDX_VM);
  must(vm, "KVM_CREATE_VM");
  struct kvm_tdx_init_vm* init = default_parameters(kvm, vm);
  must(tdx(vm, KVM_TDX_INIT_VM, 0, init, NULL), "KVM_TDX_INIT_VM");
  fails(ioctl(vm, KVM_CREATE_VCPU, 0), EINVAL, "KVM_CREATE_VCPU without a split irqchip");
  fails(enable_cap(vm, KVM_CAP_SPLIT_IRQCHIP, 4097), EINVAL, "KVM_CAP_SPLIT_IRQCHIP with 4097 pins");
  fails(enable_cap(vm, KVM_CAP_MAX_VCPUS, 4), EINVAL, "KVM_CAP_MAX_VCPUS, which cannot be enabled");
  succeeds(enable_cap(vm, KVM_CAP_SPLIT_IRQCHIP, 24), "KVM_CAP_SPLIT_IRQCHIP after KVM_TDX_INIT_VM");
  fails(enable_cap(vm, KVM_CAP_SPLIT_IRQCHIP, 24), EEXIST, "KVM_CAP_SPLIT_IRQCHIP again");
  const int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
  succeeds(vcpu, "KVM_CREATE_VCPU then");
  fails(ioctl(vm, KVM_CREATE_VCPU, 4096), EINVAL, "KVM_CREATE_VCPU with id 4096");
  free(init);
  close(vcpu);
  close(vm);
  close(kvm);
}

static void vcpus(void) {
  struct td td = make_td(VCPU_CREATED, GUEST_EXITS);
  const struct kvm_tdx_init_mem_region region = page_of(guest_image);
  fails(tdx(td.vcpu, KVM_TDX_CAPABILITIES, 0, NULL, NULL), EINVAL, "KVM_TDX_CAPABILITIES on a vCPU");
  fails(tdx(td.vcpu, KVM_TDX_INIT_MEM_REGION, 0, &region, NULL), EINVAL,
        "KVM_TDX_INIT_MEM_REGION before KVM_TDX_INIT_VCPU");
  fails(ioctl(td.vcpu, KVM_RUN, 0), EINVAL, "KVM_RUN before KVM_TDX_FINALIZE_VM");
  fails(ioctl(td.vcpu, KVM_RUN, 1), EINVAL, "KVM_RUN with an argument");
  fails(ioctl(td.vcpu, KVM_SET_TSC_KHZ, 1000000), EINVAL, "KVM_SET_TSC_KHZ on the vCPU of a TD");
  fails(tdx(td.vcpu, KVM_TDX_INIT_VCPU, 1, NULL, NULL), EINVAL, "KVM_TDX_INIT_VCPU with flags");
  succeeds(tdx(td.vcpu, KVM_TDX_INIT_VCPU, 0, NULL, NULL), "KVM_TDX_INIT_VCPU");
  fails(tdx(td.vcpu, KVM_TDX_INIT_VCPU, 0, NULL, NULL), EINVAL, "KVM_TDX_INIT_VCPU again");
  free_td(&td);
}

static void memory(void) {
  struct td td = make_td(MEMORY_ADDED, GUEST_EXITS);
  uint8_t* page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct kvm_tdx_init_mem_region region = page_of(page);
  fails(tdx(td.vcpu, KVM_TDX_INIT_MEM_REGION, 0, &region, NULL), EEXIST,
        "KVM_TDX_INIT_MEM_REGION of a page that is there");
  fails(tdx(td.vcpu, KVM_TDX_INIT_MEM_REGION, 2, &region, NULL), EINVAL,
        "KVM_TDX_INIT_MEM_REGION with an unknown flag");
  region = page_of(page + 8);
  fails(tdx(td.vcpu, KVM_TDX_INIT_MEM_REGION, 0, &region, NULL), EINVAL, "an unaligned source");
  region = page_of(page);
  region.gpa += 8;
  fails(tdx(td.vcpu, KVM_TDX_INIT_MEM_REGION, 0, &region, NULL), EINVAL, "an unaligned guest physical address");
  region = page_of(page);
  region.nr_pages = 0;
  fails(tdx(td.vcpu, KVM_TDX_INIT_MEM_REGION, 0, &region, NULL), EINVAL, "no pages");
  region = page_of(page);
  region.gpa |= 1ull << 47;
  fails(tdx(td.vcpu, KVM_TDX_INIT_MEM_REGION, 0, &region, NULL), EINVAL, "a shared guest physical address");
  succeeds(tdx(td.vm, KVM_TDX_FINALIZE_VM, 0, NULL, NULL), "KVM_TDX_FINALIZE_VM after all of these");
  munmap(page, PAGE);
  free_td(&td);
}

static void after_finalize(void) {
  struct td td = make_td(FINALIZED, GUEST_EXITS);
  const struct kvm_tdx_init_mem_region region = page_of(guest_image);
  fails(tdx(td.vm, KVM_TDX_FINALIZE_VM, 0, NULL, NULL), EINVAL, "KVM_TDX_FINALIZE_VM again");
  fails(tdx(td.vcpu, KVM_TDX_INIT_MEM_REGION, 0, &region, NULL), EINVAL, "KVM_TDX_INIT_MEM_REGION of a finalized TD");
  fails(tdx(td.vcpu, KVM_TDX_INIT_VCPU, 0, NULL, NULL), EINVAL, "KVM_TDX_INIT_VCPU of a finalized TD");
  fails(ioctl(td.vm, KVM_CREATE_VCPU, 1), EIO, "KVM_CREATE_VCPU of a finalized TD");
  free_td(&td);
}

/** Nothing to run: the module refuses, KVM takes that as a bug, the VM is dead. */
static void finalize_without_vcpu(void) {
  struct td td = make_td(TD_INITIALIZED, GUEST_EXITS);
  uint64_t hw_error = 0;
  fails(tdx(td.vm, KVM_TDX_FINALIZE_VM, 0, NULL, &hw_error), EIO, "KVM_TDX_FINALIZE_VM without a vCPU");
  check(hw_error == 0xC000060900000000ull, "hw_error says that there are no vCPUs (0x%llx)",
        (unsigned long long)hw_error);
  fails(ioctl(td.vm, KVM_GET_TSC_KHZ, 0), EIO, "any request of the VM afterwards");
  free_td(&td);
}

static void memory_slots(void) {
  struct td td = make_td(TD_INITIALIZED, GUEST_EXITS);
  void* shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct kvm_create_guest_memfd create = {.size = PAGE};
  const int memfd = ioctl(td.vm, KVM_CREATE_GUEST_MEMFD, &create);
  succeeds(memfd, "KVM_CREATE_GUEST_MEMFD");
  create.size = 17;
  fails(ioctl(td.vm, KVM_CREATE_GUEST_MEMFD, &create), EINVAL, "a guest_memfd of 17 bytes");
  fails(set_region(td.vm, 0, 0, PAGE, shared, 12345), EBADF, "a memory slot on a descriptor that is not open");
  fails(set_region(td.vm, 0, 0, PAGE, shared, 1), EINVAL, "a memory slot on a descriptor that is no guest_memfd");
  fails(set_region(td.vm, 0, 0, PAGE, shared, td.vm), EINVAL, "a memory slot on a VM's descriptor");
  fails(set_region(td.vm, 0, 0, 2 * PAGE, shared, memfd), EINVAL, "a memory slot longer than its guest_memfd");
  fails(set_region(td.vm, 0, 0, PAGE, (uint8_t*)shared + 1, memfd), EINVAL, "a memory slot at an odd address");
  succeeds(set_region(td.vm, 0, 0, PAGE, shared, memfd), "a memory slot as it should be");
  fails(set_attributes(td.vm, 0, PAGE, 1), EINVAL, "an attribute that does not exist");
  fails(set_attributes(td.vm, 1, PAGE, KVM_MEMORY_ATTRIBUTE_PRIVATE), EINVAL, "attributes of half a page");
  fails(fallocate(memfd, 0, 0, PAGE), EOPNOTSUPP, "fallocate() of a guest_memfd that could change its size");
  fails(fallocate(memfd, FALLOC_FL_KEEP_SIZE, 0, 2 * PAGE), EINVAL, "fallocate() past its end");
  succeeds(fallocate(memfd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, PAGE), "a hole in a guest_memfd");
  close(memfd);
  free_td(&td);
}

int main(void) {
  before_init_vm();
  init_vm();
  without_split_irqchip();
  vcpus();
  memory();
  after_finalize();
  finalize_without_vcpu();
  memory_slots();
  return finish();
}
