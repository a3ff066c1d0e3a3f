/* Many threads: TDs side by side, and one VM that several threads use at once. */
#include <pthread.h>

#include "client.h"

#define THREADS 6

static void* own_td(void* unused) {
  (void)unused;
  for (int round = 0; round < 2; round++) {
    struct td td = make_td(FINALIZED, GUEST_EXITS);
    const int again = tdx(td.vm, KVM_TDX_FINALIZE_VM, 0, NULL, NULL);
    if (again != -1 || errno != EINVAL) return "a finalized TD was not";
    free_td(&td);
  }
  return NULL;
}

struct shared {
  int kvm, vm;
  pthread_barrier_t start;
};

struct asker {
  struct shared* shared;
  int number, vcpu;
};

static void* asks(void* argument) {
  struct asker* asker = argument;
  pthread_barrier_wait(&asker->shared->start);
  for (int i = 0; i < 50; i++) {
    if (ioctl(asker->shared->kvm, KVM_GET_API_VERSION, 0) != 12) return "KVM_GET_API_VERSION was not 12";
  }
  asker->vcpu = ioctl(asker->shared->vm, KVM_CREATE_VCPU, asker->number);
  return NULL;
}

static void join(pthread_t* threads, int count, const char* what) {
  for (int i = 0; i < count; i++) {
    void* wrong = NULL;
    pthread_join(threads[i], &wrong);
    check(wrong == NULL, "%s, thread %d%s%s", what, i, wrong ? ": " : "", wrong ? (const char*)wrong : "");
  }
}

int main(void) {
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, own_td, NULL);
  join(threads, THREADS, "TDs side by side");

  struct td td = make_td(TD_INITIALIZED, GUEST_EXITS);
  const int most = ioctl(td.vm, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
  struct shared shared = {.kvm = td.kvm, .vm = td.vm};
  struct asker askers[THREADS];
  pthread_barrier_init(&shared.start, NULL, THREADS);
  for (int i = 0; i < THREADS; i++) {
    askers[i] = (struct asker){&shared, i, -1};
    pthread_create(&threads[i], NULL, asks, &askers[i]);
  }
  join(threads, THREADS, "requests at once");
  int made = 0;
  for (int i = 0; i < THREADS; i++) {
    made += askers[i].vcpu >= 0;
    if (askers[i].vcpu >= 0) close(askers[i].vcpu);
  }
  check(made == (most < THREADS ? most : THREADS), "each thread made its vCPU, up to the limit of the VM (%d of %d)",
        made, THREADS);
  free_td(&td);
  return finish();
}
