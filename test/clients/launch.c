/*
 * A launch, request by request, as the kernel's documentation orders them: `launch` runs the guest of guest.S,
 * `launch IMAGE` a firmware image that ends at 4 GiB and wants RAM from 0 (images/minimal.bin).
 */
#include "client.h"

#define CONSOLE 0x3f8
#define HOB 0x9000ull
/** RAM, of which only the start is there when the guest begins: it accepts more. */
#define LOW_MEMORY 0x100000ull
#define ADDED 0x20000ull

struct part {
  uint64_t base, size, added;
  const uint8_t* content;
  uint32_t flags;
};

/** The descriptor stays open: a memory slot does not keep its guest_memfd. */
static void add(const struct td* td, uint32_t slot, const struct part* part) {
  void* shared = mmap(NULL, part->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct kvm_create_guest_memfd create = {.size = part->size};
  const int memfd = ioctl(td->vm, KVM_CREATE_GUEST_MEMFD, &create);
  succeeds(memfd, "KVM_CREATE_GUEST_MEMFD");
  check((fcntl(memfd, F_GETFD) & FD_CLOEXEC) == 0, "a guest_memfd is kept by exec");
  succeeds(set_region(td->vm, slot, part->base, part->size, shared, memfd), "KVM_SET_USER_MEMORY_REGION2");
  succeeds(set_attributes(td->vm, part->base, part->size, KVM_MEMORY_ATTRIBUTE_PRIVATE), "KVM_SET_MEMORY_ATTRIBUTES");
  struct kvm_tdx_init_mem_region region = {(uint64_t)part->content, part->base, part->added / PAGE};
  long result = 0;
  do {
    result = tdx(td->vcpu, KVM_TDX_INIT_MEM_REGION, part->flags, &region, NULL);
  } while (result < 0 && (errno == EINTR || errno == EAGAIN));
  succeeds(result, "KVM_TDX_INIT_MEM_REGION");
  check(region.nr_pages == 0 && region.gpa == part->base + part->added, "its structure has moved on past all pages");
}

static uint8_t* pages_of(const char* path, uint64_t* size) {
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  must(file, path);
  *size = (uint64_t)lseek(file, 0, SEEK_END);
  uint8_t* pages = mmap(NULL, *size, PROT_READ, MAP_PRIVATE, file, 0);
  must(pages == MAP_FAILED ? -1 : 0, "mmap of the image");
  close(file);
  return pages;
}

/** Runs until the guest writes to the exit port; console bytes go to standard output as comments. */
static int run(const struct td* td) {
  bool line_start = true;
  for (int exits = 0; exits < 100000; exits++) {
    if (ioctl(td->vcpu, KVM_RUN, 0) < 0) {
      if (errno == EINTR || errno == EAGAIN) continue;
      const int error = errno;
      if (error == EFAULT && td->run->exit_reason == KVM_EXIT_MEMORY_FAULT) {
        printf("# memory fault at 0x%llx, flags 0x%llx\n", (unsigned long long)td->run->memory_fault.gpa,
               (unsigned long long)td->run->memory_fault.flags);
      }
      check(false, "KVM_RUN succeeds (it is %s)", strerrorname_np(error));
      return -1;
    }
    const struct kvm_run* state = td->run;
    if (state->exit_reason != KVM_EXIT_IO || state->io.direction != KVM_EXIT_IO_OUT) {
      check(false, "the guest writes to ports only (exit %u)", state->exit_reason);
      return -1;
    }
    const uint8_t byte = ((const uint8_t*)state)[state->io.data_offset];
    if (state->io.port == PORT_EXIT) return byte;
    if (state->io.port != CONSOLE) continue;
    if (line_start) fputs("# ", stdout);
    putchar(byte);
    line_start = byte == '\n';
  }
  return -1;
}

int main(int argc, char** argv) {
  struct td td = {0};
  uint64_t size = guest_size();
  const uint8_t* image = argc > 1 ? pages_of(argv[1], &size) : guest_image;
  if (argc <= 1) {
    uint8_t* pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    image = memcpy(pages, guest_image, size);
  }
  uint8_t* zeroes = mmap(NULL, ADDED, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

  succeeds(td.kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), "open of /dev/kvm");
  succeeds(td.vm = ioctl(td.kvm, KVM_CREATE_VM, KVM_X86_TDX_VM), "KVM_CREATE_VM");
  succeeds(enable_cap(td.vm, KVM_CAP_SPLIT_IRQCHIP, 24), "KVM_CAP_SPLIT_IRQCHIP");
  struct kvm_tdx_init_vm* init = default_parameters(td.kvm, td.vm);
  memset(init->mrconfigid, 0x11, sizeof init->mrconfigid);
  uint64_t hw_error = 1;
  succeeds(tdx(td.vm, KVM_TDX_INIT_VM, 0, init, &hw_error), "KVM_TDX_INIT_VM");
  check(hw_error == 0, "hw_error is 0");
  succeeds(td.vcpu = ioctl(td.vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
  check((fcntl(td.vcpu, F_GETFD) & FD_CLOEXEC) != 0, "a vCPU's descriptor is closed by exec");

  const int run_size = ioctl(td.kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
  check(run_size >= (int)PAGE, "KVM_GET_VCPU_MMAP_SIZE is a page or more");
  td.run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, td.vcpu, 0);
  succeeds(td.run == MAP_FAILED ? -1 : 0, "mmap of the vCPU");

  struct kvm_cpuid2* cpuid = calloc(1, sizeof *cpuid + 256 * sizeof(struct kvm_cpuid_entry2));
  cpuid->nent = 1;
  fails(tdx(td.vcpu, KVM_TDX_GET_CPUID, 0, cpuid, NULL), E2BIG, "KVM_TDX_GET_CPUID with room for one entry");
  check(cpuid->nent > 1 && cpuid->nent <= 256, "it says how many there are (%u)", cpuid->nent);
  succeeds(tdx(td.vcpu, KVM_TDX_GET_CPUID, 0, cpuid, NULL), "KVM_TDX_GET_CPUID with so many");
  succeeds(ioctl(td.vcpu, KVM_SET_CPUID2, cpuid), "KVM_SET_CPUID2");
  const uint64_t rcx = argc > 1 ? HOB : GUEST_EXITS;
  succeeds(tdx(td.vcpu, KVM_TDX_INIT_VCPU, 0, (void*)(uintptr_t)rcx, NULL), "KVM_TDX_INIT_VCPU");

  const struct part top = {0x100000000ull - size, size, size, image, KVM_TDX_MEASURE_MEMORY_REGION};
  const struct part low = {0, LOW_MEMORY, ADDED, zeroes, 0};
  add(&td, 0, &top);
  if (argc > 1) add(&td, 1, &low);
  succeeds(tdx(td.vm, KVM_TDX_FINALIZE_VM, 0, NULL, &hw_error), "KVM_TDX_FINALIZE_VM");
  check(run(&td) == 0, "the guest ends and says 0");
  close(td.vcpu);
  close(td.vm);
  close(td.kvm);
  return finish();
}
