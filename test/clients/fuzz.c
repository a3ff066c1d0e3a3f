/*
 * fuzz SEED ROUNDS: requests that look right, and are so more or less, in any order, on any descriptor, with pointers
 * of all kinds. Whatever is refused, nobody crashes or hangs, memory that no request names stays as it was, and a TD
 * can be launched afterwards.
 */
#include <poll.h>
#include <signal.h>
#include <sys/time.h>

#include "client.h"

#define ARENA_PAGES 64
#define DESCRIPTORS 24

static uint64_t state;
static uint64_t next(void) { /* xorshift64* */
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return state * 2685821657736338717ull;
}
static uint64_t below(uint64_t limit) { return next() % limit; }
static bool one_in(uint64_t n) { return below(n) == 0; }

/* Pages of the arena: most can be written, some only read, some not touched; the canary is none of anybody's business.
 */
static uint8_t *arena, *canary;

static void* place(void) { return arena + below(ARENA_PAGES) * PAGE + (one_in(2) ? 0 : below(PAGE)); }

static uint64_t pointer(void) {
  static const uint64_t bad[] = {0,     1,           4095, 0x10000, 0x7fffffffffff, 0x800000000000, 0xffff888000000000,
                                 ~0ull, ~0ull - 4095};
  return one_in(8) ? bad[below(sizeof bad / sizeof *bad)] : (uint64_t)place();
}

/** Numbers that mean something to somebody, and others. */
static uint64_t number(void) {
  static const uint64_t known[] = {0,           1,          2,          3,          4,          5,    8,    24,
                                   40,          255,        256,        257,        4095,       4096, 4097, 0xffffffff,
                                   0x100000000, 0xffffc000, 1ull << 47, 1ull << 51, 1ull << 63, ~0ull};
  switch (below(4)) {
    case 0:
      return known[below(sizeof known / sizeof *known)];
    case 1:
      return below(16);
    case 2:
      return below(1 << 20) * PAGE;
    default:
      return next() >> below(64);
  }
}

static int descriptors[DESCRIPTORS];

static long succeeded, refused[256];

static void count(long result) {
  if (result >= 0) {
    succeeded++;
  } else {
    refused[errno & 255]++;
  }
}

static void keep(int fd) {
  if (fd < 0) return;
  int* slot = &descriptors[1 + below(DESCRIPTORS - 1)]; /* the first is always /dev/kvm */
  if (*slot >= 0) close(*slot);
  *slot = fd;
}

static int descriptor(void) {
  if (one_in(40)) return (int)below(2000) - 5;
  for (int tries = 0; tries < 20; tries++) {
    const int fd = descriptors[below(DESCRIPTORS)];
    if (fd >= 0) return fd;
  }
  return descriptors[0];
}

static const unsigned long requests[] = {
    KVM_GET_API_VERSION,
    KVM_CREATE_VM,
    KVM_CHECK_EXTENSION,
    KVM_GET_VCPU_MMAP_SIZE,
    KVM_GET_SUPPORTED_CPUID,
    KVM_CREATE_VCPU,
    KVM_SET_USER_MEMORY_REGION,
    KVM_SET_USER_MEMORY_REGION2,
    KVM_RUN,
    KVM_GET_REGS,
    KVM_SET_REGS,
    KVM_GET_MSRS,
    KVM_SET_MSRS,
    KVM_SET_SIGNAL_MASK,
    KVM_SET_CPUID2,
    KVM_GET_MP_STATE,
    KVM_SET_TSC_KHZ,
    KVM_GET_TSC_KHZ,
    KVM_ENABLE_CAP,
    KVM_MEMORY_ENCRYPT_OP,
    KVM_MEMORY_ENCRYPT_OP,
    KVM_MEMORY_ENCRYPT_OP,
    KVM_X86_SET_MSR_FILTER,
    KVM_SET_MEMORY_ATTRIBUTES,
    KVM_CREATE_GUEST_MEMFD,
};

/** Numbers, pointers and small counts, as structures have them. */
static void fill(uint8_t* at, size_t size) {
  for (size_t i = 0; i + 8 <= size; i += 8) {
    uint64_t value = 0;
    switch (below(6)) {
      case 0:
        value = pointer();
        break;
      case 1:
        value = number() & 0xffffffff;
        break;
      case 2:
        value = below(8) | below(300) << 32;
        break;
      case 3:
        value = number();
        break;
      default:
        break;
    }
    memcpy(at + i, &value, 8);
  }
}

/** A structure in the arena, filled if that can be written. */
static void* structure(size_t size) {
  uint8_t* at = place();
  uint8_t bytes[512];
  if (size > sizeof bytes) size = sizeof bytes;
  fill(bytes, size);
  const size_t page = (size_t)(at - arena) / PAGE;
  if (page % 8 < 6 && (size_t)(at - arena) % PAGE + size <= PAGE) memcpy(at, bytes, size);
  return at;
}

static void* tdx_command(void) {
  struct kvm_tdx_cmd* command = (struct kvm_tdx_cmd*)(arena + below(ARENA_PAGES / 8) * 8 * PAGE + below(500) * 8);
  *command = (struct kvm_tdx_cmd){.id = (uint32_t)below(8),
                                  .flags = one_in(4) ? (uint32_t)number() : 0,
                                  .data = one_in(4) ? number() : pointer(),
                                  .hw_error = one_in(20)};
  return command;
}

static struct kvm_tdx_init_vm* parameters;
static size_t parameters_size;

/** What would work, but for a change here and there. */
static int almost_init_vm(int vm) {
  struct kvm_tdx_init_vm* init = malloc(parameters_size);
  memcpy(init, parameters, parameters_size);
  while (one_in(2)) {
    const uint64_t value = number();
    const size_t at = below(parameters_size / 8) * 8;
    memcpy((uint8_t*)init + at, &value, 8);
  }
  const int result = tdx(vm, KVM_TDX_INIT_VM, 0, init, NULL);
  free(init);
  return result;
}

static void request(void) {
  const int fd = descriptor();
  const unsigned long number_of = one_in(20) ? next() : requests[below(sizeof requests / sizeof *requests)];
  void* argument = (void*)number();
  switch (number_of) {
    case KVM_CREATE_VM:
      argument = (void*)(one_in(4) ? number() : KVM_X86_TDX_VM);
      break;
    case KVM_CREATE_VCPU:
      argument = (void*)(one_in(4) ? number() : below(4));
      break;
    case KVM_RUN:
      argument = (void*)(uintptr_t)one_in(16);
      break;
    case KVM_MEMORY_ENCRYPT_OP:
      argument = one_in(8) ? (void*)pointer() : tdx_command();
      break;
    default:
      if (_IOC_DIR(number_of)) argument = one_in(8) ? (void*)pointer() : structure(_IOC_SIZE(number_of));
  }
  const int result = ioctl(fd, number_of, argument);
  count(result);
  if (number_of == KVM_CREATE_VM || number_of == KVM_CREATE_VCPU || number_of == KVM_CREATE_GUEST_MEMFD) keep(result);
}

/** A TD that somebody has brought this far. */
static void adopt_td(void) {
  struct td td = make_td((enum stage)below(FINALIZED + 1), GUEST_SPINS);
  keep(td.vm);
  keep(td.vcpu);
  keep(td.memfd);
  if (td.run) munmap(td.run, 3 * PAGE);
  close(td.kvm);
}

static void* mapped;

static void other(void) {
  const int fd = descriptor();
  struct pollfd list[] = {{fd, POLLIN | POLLOUT, 0}, {(int)below(50), POLLIN, 0}};
  switch (below(8)) {
    case 0:
      keep(dup(fd));
      break;
    case 1:
      poll(list, 2, 0);
      break;
    case 2:
      fallocate(fd, (int)below(8), (off_t)number(), (off_t)number());
      break;
    case 3: {
      int* slot = &descriptors[1 + below(DESCRIPTORS - 1)];
      if (*slot >= 0) close(*slot);
      *slot = -1;
      break;
    }
    case 4:
      if (mapped) munmap(mapped, PAGE);
      mapped = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)(below(4) * PAGE));
      if (mapped == MAP_FAILED) mapped = NULL;
      break;
    case 5:
      count(almost_init_vm(fd));
      break;
    case 6:
      count(enable_cap(fd, KVM_CAP_SPLIT_IRQCHIP, 24));
      break;
    default:
      keep(open("/dev/kvm", O_RDWR | (one_in(2) ? O_CLOEXEC : 0)));
  }
}

static void on_alarm(int signal) { (void)signal; }

static void prepare(void) {
  arena = mmap(NULL, (ARENA_PAGES + 2) * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  canary = arena + ARENA_PAGES * PAGE;
  memset(canary, 0xc5, 2 * PAGE);
  for (int page = 0; page < ARENA_PAGES; page++) {
    if (page % 8 == 6) mprotect(arena + page * PAGE, PAGE, PROT_READ);
    if (page % 8 == 7) mprotect(arena + page * PAGE, PAGE, PROT_NONE);
  }
  for (int i = 0; i < DESCRIPTORS; i++) descriptors[i] = -1;
  must(descriptors[0] = open("/dev/kvm", O_RDWR | O_CLOEXEC), "open of /dev/kvm");
  const int vm = ioctl(descriptors[0], KVM_CREATE_VM, KVM_X86_TDX_VM);
  must(vm, "KVM_CREATE_VM");
  parameters = default_parameters(descriptors[0], vm);
  parameters_size = sizeof *parameters + parameters->cpuid.nent * sizeof(struct kvm_cpuid_entry2);
  close(vm);
  /* What enters a guest comes back. */
  const struct sigaction action = {.sa_handler = on_alarm};
  sigaction(SIGALRM, &action, NULL);
  const struct itimerval timer = {{0, 20000}, {0, 20000}};
  setitimer(ITIMER_REAL, &timer, NULL);
}

int main(int argc, char** argv) {
  const uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
  const long rounds = argc > 2 ? atol(argv[2]) : 2000;
  state = seed * 0x9e3779b97f4a7c15ull + 1;
  prepare();
  for (long round = 0; round < rounds; round++) {
    if (round % 200 == 0) {
      adopt_td();
    } else if (one_in(4)) {
      other();
    } else {
      request();
    }
  }
  const struct itimerval off = {0};
  setitimer(ITIMER_REAL, &off, NULL);
  printf("# succeeded %ld", succeeded);
  for (int error = 0; error < 256; error++) {
    if (refused[error]) printf(", %s %ld", strerrorname_np(error), refused[error]);
  }
  printf("\n");
  check(succeeded > rounds / 20 && refused[EFAULT] && refused[EINVAL],
        "requests were accepted and refused for several reasons");
  bool whole = true;
  for (size_t i = 0; i < 2 * PAGE; i++) whole = whole && canary[i] == 0xc5;
  check(whole, "memory that no request names is as it was, seed %llu", (unsigned long long)seed);
  for (int i = 1; i < DESCRIPTORS; i++) {
    if (descriptors[i] >= 0) close(descriptors[i]);
  }
  if (mapped) munmap(mapped, PAGE);
  struct td td = make_td(FINALIZED, GUEST_EXITS);
  check(td.vm >= 0, "a TD can be launched afterwards");
  free_td(&td);
  close(descriptors[0]);
  free(parameters);
  return finish();
}
