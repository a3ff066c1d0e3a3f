/* Descriptors of a TD in other processes: fork, exec, a child that outlives its parent's copy. */
#include <sys/wait.h>

#include "client.h"

static int exit_status(pid_t child) {
  int status = -1;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/** In the executed program: what was inherited, and that the rest was closed. */
static int executed(char** argv) {
  const int kvm = atoi(argv[2]);
  const int vm = atoi(argv[3]);
  if (ioctl(kvm, KVM_GET_API_VERSION, 0) != 12) return 1;
  if (ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY) != -1 || errno != EBADF) return 2;
  /* A system descriptor is nobody's in particular: it makes VMs here as there. */
  const int own = ioctl(kvm, KVM_CREATE_VM, KVM_X86_TDX_VM);
  if (own < 0) return 3;
  struct kvm_tdx_init_vm* init = default_parameters(kvm, own);
  return tdx(own, KVM_TDX_INIT_VM, 0, init, NULL) == 0 ? 0 : 4;
}

/** A VM belongs to the address space that made it (api.rst, 4: "VM ioctls must be issued from the same process"). */
static int in_child(const struct td* td) {
  if (ioctl(td->kvm, KVM_GET_API_VERSION, 0) != 12) return 1;
  if (ioctl(td->vm, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY) != -1 || errno != EIO) return 2;
  if (ioctl(td->vcpu, KVM_RUN, 0) != -1 || errno != EIO) return 3;
  close(td->vm);
  close(td->vcpu);
  close(td->memfd);
  struct td own = make_td(MEMORY_ADDED, GUEST_EXITS);
  return tdx(own.vm, KVM_TDX_FINALIZE_VM, 0, NULL, NULL) == 0 ? 0 : 4;
}

static void forked(void) {
  struct td td = make_td(VCPU_INITIALIZED, GUEST_EXITS);
  const pid_t child = fork();
  if (child == 0) _exit(in_child(&td));
  const int status = exit_status(child);
  check(status == 0, "a forked child: EIO on its parent's VM and vCPU, a TD of its own (status %d)", status);
  succeeds(tdx(td.vm, KVM_TDX_FINALIZE_VM, 0, NULL, NULL), "the parent goes on with its TD");
  free_td(&td);
}

static void executes(char* self) {
  char kvm_number[12], vm_number[12];
  const int kvm = open("/dev/kvm", O_RDWR); /* not closed by exec */
  const int vm = ioctl(kvm, KVM_CREATE_VM, KVM_X86_TDX_VM);
  must(vm, "KVM_CREATE_VM");
  snprintf(kvm_number, sizeof kvm_number, "%d", kvm);
  snprintf(vm_number, sizeof vm_number, "%d", vm);
  const pid_t child = fork();
  if (child == 0) {
    execl(self, self, "executed", kvm_number, vm_number, NULL);
    _exit(99);
  }
  const int status = exit_status(child);
  check(status == 0, "an executed program: /dev/kvm is inherited, the VM closed (status %d)", status);
  close(vm);
  close(kvm);
}

/** A vCPU keeps its VM, as in the kernel: closing the VM's descriptor takes nothing away. */
static void held_by_children(void) {
  struct td td = make_td(VCPU_CREATED, GUEST_EXITS);
  close(td.vm);
  succeeds(tdx(td.vcpu, KVM_TDX_INIT_VCPU, 0, NULL, NULL), "KVM_TDX_INIT_VCPU when the VM's descriptor is closed");
  td.vm = dup(td.vcpu);
  free_td(&td);
}

int main(int argc, char** argv) {
  if (argc == 4 && strcmp(argv[1], "executed") == 0) return executed(argv);
  forked();
  executes(argv[0]);
  held_by_children();
  return finish();
}
