// The client of bench/wire.mjs. Each mode prints nanoseconds per operation.
//   wire extension N      KVM_CHECK_EXTENSION of /dev/kvm
//   wire capabilities N   KVM_TDX_CAPABILITIES of a TD
//   wire foreign N        ioctl(FIONREAD) of a pipe: a descriptor that is not KVM's
//   wire open N           open and close of /dev/null
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define TDX_VM 5

struct tdx_cmd {
  uint32_t id, flags;
  uint64_t data, hw_error;
};

static double now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}

static int check(int result, const char* what) {
  if (result < 0) {
    perror(what);
    exit(1);
  }
  return result;
}

static void capabilities(int vm) {
  static struct {
    uint8_t header[2048];
    uint32_t nent, padding;
    uint8_t entries[256 * 40];
  } data;
  data.nent = 256;
  struct tdx_cmd cmd = {.data = (uintptr_t)&data};
  check(ioctl(vm, KVM_MEMORY_ENCRYPT_OP, &cmd), "KVM_TDX_CAPABILITIES");
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const char* mode = argv[1];
  const long n = atol(argv[2]);
  const int with_kvm = strcmp(mode, "extension") == 0 || strcmp(mode, "capabilities") == 0;
  const int kvm = with_kvm ? check(open("/dev/kvm", O_RDWR), "/dev/kvm") : -1;
  const int vm = strcmp(mode, "capabilities") == 0 ? check(ioctl(kvm, KVM_CREATE_VM, TDX_VM), "KVM_CREATE_VM") : -1;
  int ends[2], bytes;
  check(pipe(ends), "pipe");
  const double start = now_ns();
  for (long i = 0; i < n; i++) {
    if (vm >= 0) capabilities(vm);
    else if (kvm >= 0) check(ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY), "KVM_CHECK_EXTENSION");
    else if (strcmp(mode, "open") == 0) close(check(open("/dev/null", O_RDONLY), "/dev/null"));
    else check(ioctl(ends[0], FIONREAD, &bytes), "FIONREAD");
  }
  printf("%f\n", (now_ns() - start) / n);
  return 0;
}
