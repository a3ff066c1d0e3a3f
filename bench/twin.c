// The C twin of two benchmarks: what the kernel itself costs, without Node.
//   twin ioctl N    N times KVM_CHECK_EXTENSION
//   twin exits N    a guest that writes N times to port 0x3f8 and halts, as bench/exits.mjs runs it
// Prints nanoseconds per operation.
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

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

static double time_ioctls(int kvm, long n) {
  double start = now_ns();
  for (long i = 0; i < n; i++) check(ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY), "KVM_CHECK_EXTENSION");
  return (now_ns() - start) / n;
}

static double time_exits(int kvm, long n) {
  // mov dx, 0x3f8; mov al, 'A'; mov ecx, N; again: out dx, al; dec ecx; jnz again; hlt
  uint8_t code[] = {0xba, 0xf8, 0x03, 0xb0, 0x41, 0x66, 0xb9, 0, 0, 0, 0, 0xee, 0x66, 0x49, 0x75, 0xfb, 0xf4};
  for (int i = 0; i < 4; i++) code[7 + i] = (uint8_t)(n >> (8 * i));
  int vm = check(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
  uint8_t* memory = mmap(NULL, 0x10000, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) check(-1, "mmap");
  memcpy(memory + 0x1000, code, sizeof code);
  struct kvm_userspace_memory_region region = {.memory_size = 0x10000, .userspace_addr = (uintptr_t)memory};
  check(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
  int vcpu = check(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
  struct kvm_run* run = mmap(NULL, check(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE"),
                             PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
  if (run == MAP_FAILED) check(-1, "mmap of kvm_run");
  struct kvm_sregs sregs;
  check(ioctl(vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
  sregs.cs.base = 0;
  sregs.cs.selector = 0;
  check(ioctl(vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
  struct kvm_regs regs = {.rip = 0x1000, .rflags = 2};
  check(ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
  double start = now_ns();
  long exits = 0;
  while (check(ioctl(vcpu, KVM_RUN, 0), "KVM_RUN"), run->exit_reason == KVM_EXIT_IO) exits++;
  double elapsed = now_ns() - start;
  if (run->exit_reason != KVM_EXIT_HLT || exits != n) {
    fprintf(stderr, "exit reason %u after %ld port exits\n", run->exit_reason, exits);
    exit(1);
  }
  return elapsed / n;
}

int main(int argc, char** argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: twin ioctl|exits N\n");
    return 2;
  }
  int kvm = check(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
  long n = atol(argv[2]);
  printf("%.1f\n", strcmp(argv[1], "ioctl") == 0 ? time_ioctls(kvm, n) : time_exits(kvm, n));
  return 0;
}
