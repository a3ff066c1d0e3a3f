#include "client.h"

static int checks, failures;

bool check(bool holds, const char* format, ...) {
  va_list rest;
  checks++;
  if (!holds) failures++;
  printf("%sok %d - ", holds ? "" : "not ", checks);
  va_start(rest, format);
  vprintf(format, rest);
  va_end(rest);
  printf("\n");
  fflush(stdout);
  return holds;
}

bool succeeds(long result, const char* what) {
  const int error = errno;
  if (result >= 0) return check(true, "%s succeeds", what);
  return check(false, "%s succeeds (it is %s)", what, strerrorname_np(error));
}

bool fails(long result, int error, const char* what) {
  const int got = errno;
  if (result < 0 && got == error) return check(true, "%s is %s", what, strerrorname_np(error));
  return check(false, "%s is %s (it is %s)", what, strerrorname_np(error),
               result < 0 ? strerrorname_np(got) : "success");
}

int finish(void) {
  printf("1..%d\n", checks);
  return failures == 0 && checks > 0 ? 0 : 1;
}

void must(long result, const char* what) {
  if (result >= 0) return;
  printf("Bail out! %s: %s\n", what, strerror(errno));
  exit(1);
}

int tdx(int fd, uint32_t id, uint32_t flags, const void* data, uint64_t* hw_error) {
  struct kvm_tdx_cmd command = {.id = id, .flags = flags, .data = (uint64_t)data};
  const int result = ioctl(fd, KVM_MEMORY_ENCRYPT_OP, &command);
  if (hw_error) *hw_error = command.hw_error;
  return result;
}

struct kvm_tdx_capabilities* capabilities_of(int vm) {
  for (uint32_t entries = 1; entries <= 1024; entries *= 2) {
    struct kvm_tdx_capabilities* caps = calloc(1, sizeof *caps + entries * sizeof(struct kvm_cpuid_entry2));
    caps->cpuid.nent = entries;
    if (tdx(vm, KVM_TDX_CAPABILITIES, 0, caps, NULL) == 0) return caps;
    free(caps);
    if (errno != E2BIG) break;
  }
  must(-1, "KVM_TDX_CAPABILITIES");
  return NULL;
}

struct kvm_cpuid2* supported_cpuid(int kvm) {
  for (uint32_t entries = 16; entries <= 1024; entries *= 2) {
    struct kvm_cpuid2* cpuid = calloc(1, sizeof *cpuid + entries * sizeof(struct kvm_cpuid_entry2));
    cpuid->nent = entries;
    if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, cpuid) == 0) return cpuid;
    free(cpuid);
    if (errno != E2BIG) break;
  }
  must(-1, "KVM_GET_SUPPORTED_CPUID");
  return NULL;
}

/** Leaves whose answer depends on ECX (Intel SDM, CPUID). */
static bool has_subleaves(uint32_t function) {
  static const uint32_t leaves[] = {4,    7,    0xb,  0xd,  0xf,  0x10, 0x12, 0x14, 0x17,
                                    0x18, 0x1b, 0x1d, 0x1e, 0x1f, 0x20, 0x23, 0x24};
  for (size_t i = 0; i < sizeof leaves / sizeof *leaves; i++) {
    if (leaves[i] == function) return true;
  }
  return false;
}

static const struct kvm_cpuid_entry2* find(const struct kvm_cpuid2* cpuid, uint32_t function, uint32_t index) {
  for (uint32_t i = 0; i < cpuid->nent; i++) {
    const struct kvm_cpuid_entry2* entry = &cpuid->entries[i];
    if (entry->function == function && (!has_subleaves(function) || entry->index == index)) return entry;
  }
  return NULL;
}

struct kvm_tdx_init_vm* default_parameters(int kvm, int vm) {
  struct kvm_tdx_capabilities* caps = capabilities_of(vm);
  struct kvm_cpuid2* host = supported_cpuid(kvm);
  struct kvm_tdx_init_vm* init = calloc(1, sizeof *init + caps->cpuid.nent * sizeof(struct kvm_cpuid_entry2));
  init->attributes = 0;
  init->xfam = 3 & caps->supported_xfam; /* x87 and SSE */
  for (uint32_t i = 0; i < caps->cpuid.nent; i++) {
    const struct kvm_cpuid_entry2* mask = &caps->cpuid.entries[i];
    const struct kvm_cpuid_entry2* value = find(host, mask->function, mask->index);
    struct kvm_cpuid_entry2* entry = &init->cpuid.entries[init->cpuid.nent++];
    entry->function = mask->function;
    entry->index = mask->index;
    entry->flags = has_subleaves(mask->function) ? KVM_CPUID_FLAG_SIGNIFICANT_INDEX : 0;
    if (mask->function == 0x80000008) {
      entry->eax = 48 << 16; /* the width of guest physical addresses */
    } else if (value) {
      entry->eax = value->eax & mask->eax;
      entry->ebx = value->ebx & mask->ebx;
      entry->ecx = value->ecx & mask->ecx;
      entry->edx = value->edx & mask->edx;
    }
    if (mask->function == 7 && mask->index == 0) {
      entry->ebx &= ~(1u << 4 | 1u << 11); /* HLE, RTM: KVM refuses TSX */
      entry->ecx &= ~(1u << 5);            /* and WAITPKG */
    }
  }
  free(host);
  free(caps);
  return init;
}

int enable_cap(int fd, uint32_t cap, uint64_t value) {
  struct kvm_enable_cap enable = {.cap = cap, .args = {value}};
  return ioctl(fd, KVM_ENABLE_CAP, &enable);
}

int set_attributes(int vm, uint64_t address, uint64_t size, uint64_t attributes) {
  struct kvm_memory_attributes request = {.address = address, .size = size, .attributes = attributes};
  return ioctl(vm, KVM_SET_MEMORY_ATTRIBUTES, &request);
}

int set_region(int vm, uint32_t slot, uint64_t address, uint64_t size, void* shared, int guest_memfd) {
  struct kvm_userspace_memory_region2 region = {
      .slot = slot,
      .flags = KVM_MEM_GUEST_MEMFD,
      .guest_phys_addr = address,
      .memory_size = size,
      .userspace_addr = (uint64_t)shared,
      .guest_memfd = (uint32_t)guest_memfd,
  };
  return ioctl(vm, KVM_SET_USER_MEMORY_REGION2, &region);
}

int init_mem_region(int vcpu, const void* source, uint64_t gpa, uint64_t pages, uint32_t flags) {
  struct kvm_tdx_init_mem_region region = {.source_addr = (uint64_t)source, .gpa = gpa, .nr_pages = pages};
  int result = 0;
  do {
    result = tdx(vcpu, KVM_TDX_INIT_MEM_REGION, flags, &region, NULL);
  } while (result < 0 && (errno == EINTR || errno == EAGAIN));
  return result;
}

uint64_t guest_size(void) { return (uint64_t)(guest_image_end - guest_image); }
uint64_t guest_base(void) { return 0x100000000ull - guest_size(); }

/** The TD's own CPUID for KVM's eyes, as the selftests do it. */
static void set_cpuid(int vcpu) {
  struct kvm_cpuid2* cpuid = calloc(1, sizeof *cpuid + 256 * sizeof(struct kvm_cpuid_entry2));
  cpuid->nent = 256;
  must(tdx(vcpu, KVM_TDX_GET_CPUID, 0, cpuid, NULL), "KVM_TDX_GET_CPUID");
  must(ioctl(vcpu, KVM_SET_CPUID2, cpuid), "KVM_SET_CPUID2");
  free(cpuid);
}

static void add_memory(struct td* td) {
  const uint64_t size = guest_size();
  struct kvm_create_guest_memfd create = {.size = size};
  /* The source has to start at a page. */
  void* source = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memcpy(source, guest_image, size);
  td->memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  must(td->memfd = ioctl(td->vm, KVM_CREATE_GUEST_MEMFD, &create), "KVM_CREATE_GUEST_MEMFD");
  must(set_region(td->vm, 0, guest_base(), size, td->memory, td->memfd), "KVM_SET_USER_MEMORY_REGION2");
  must(set_attributes(td->vm, guest_base(), size, KVM_MEMORY_ATTRIBUTE_PRIVATE), "KVM_SET_MEMORY_ATTRIBUTES");
  must(init_mem_region(td->vcpu, source, guest_base(), size / PAGE, KVM_TDX_MEASURE_MEMORY_REGION),
       "KVM_TDX_INIT_MEM_REGION");
  munmap(source, size);
}

struct td make_td(enum stage stage, enum guest guest) {
  struct td td = {.memfd = -1, .vcpu = -1};
  must(td.kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), "open of /dev/kvm");
  must(td.vm = ioctl(td.kvm, KVM_CREATE_VM, KVM_X86_TDX_VM), "KVM_CREATE_VM");
  must(enable_cap(td.vm, KVM_CAP_SPLIT_IRQCHIP, 24), "KVM_CAP_SPLIT_IRQCHIP");
  if (stage >= TD_INITIALIZED) {
    struct kvm_tdx_init_vm* init = default_parameters(td.kvm, td.vm);
    must(tdx(td.vm, KVM_TDX_INIT_VM, 0, init, NULL), "KVM_TDX_INIT_VM");
    free(init);
  }
  if (stage >= VCPU_CREATED) {
    must(td.vcpu = ioctl(td.vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
    const int size = ioctl(td.kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    td.run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, td.vcpu, 0);
    must(td.run == MAP_FAILED ? -1 : 0, "mmap of the vCPU");
    set_cpuid(td.vcpu);
  }
  if (stage >= VCPU_INITIALIZED) {
    must(tdx(td.vcpu, KVM_TDX_INIT_VCPU, 0, (void*)(uintptr_t)guest, NULL), "KVM_TDX_INIT_VCPU");
  }
  if (stage >= MEMORY_ADDED) add_memory(&td);
  if (stage >= FINALIZED) must(tdx(td.vm, KVM_TDX_FINALIZE_VM, 0, NULL, NULL), "KVM_TDX_FINALIZE_VM");
  return td;
}

void free_td(struct td* td) {
  if (td->run) munmap(td->run, ioctl(td->kvm, KVM_GET_VCPU_MMAP_SIZE, 0));
  if (td->memory) munmap(td->memory, guest_size());
  if (td->vcpu >= 0) close(td->vcpu);
  if (td->memfd >= 0) close(td->memfd);
  close(td->vm);
  close(td->kvm);
}
