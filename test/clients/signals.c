/* What ends KVM_RUN of a guest that never exits: a signal, KVM_SET_SIGNAL_MASK's way and the other, immediate_exit. */
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <time.h>

#include "client.h"

static volatile sig_atomic_t handled;
static void on_signal(int signal) {
  (void)signal;
  handled++;
}

static void after(int milliseconds) {
  const struct itimerval timer = {.it_value = {0, milliseconds * 1000}};
  setitimer(ITIMER_REAL, &timer, NULL);
}

struct kicker {
  struct kvm_run* run;
  pthread_t thread;
};

static void* kick(void* argument) {
  struct kicker* kicker = argument;
  usleep(50000);
  *(volatile uint8_t*)&kicker->run->immediate_exit = 1;
  pthread_kill(kicker->thread, SIGUSR1);
  return NULL;
}

static void interrupts(enum guest guest, const char* what) {
  struct td td = make_td(FINALIZED, guest);
  after(50);
  fails(ioctl(td.vcpu, KVM_RUN, 0), EINTR, what);

  td.run->immediate_exit = 1;
  fails(ioctl(td.vcpu, KVM_RUN, 0), EINTR, "KVM_RUN with immediate_exit set");
  td.run->immediate_exit = 0;

  struct kicker kicker = {td.run, pthread_self()};
  pthread_t thread;
  pthread_create(&thread, NULL, kick, &kicker);
  fails(ioctl(td.vcpu, KVM_RUN, 0), EINTR, "KVM_RUN that another thread ends: immediate_exit and a signal");
  pthread_join(thread, NULL);
  td.run->immediate_exit = 0;

  sigset_t none, alarm_only;
  uint8_t bytes[12] = {0};
  struct kvm_signal_mask* mask = (struct kvm_signal_mask*)bytes;
  mask->len = 8;
  sigemptyset(&none);
  memcpy(mask->sigset, &none, 8);
  sigemptyset(&alarm_only);
  sigaddset(&alarm_only, SIGALRM);
  succeeds(ioctl(td.vcpu, KVM_SET_SIGNAL_MASK, mask), "KVM_SET_SIGNAL_MASK");
  pthread_sigmask(SIG_BLOCK, &alarm_only, NULL);
  const int before = handled;
  after(50);
  fails(ioctl(td.vcpu, KVM_RUN, 0), EINTR, "KVM_RUN with a signal that only its own mask lets in");
  const struct timespec now = {0, 0};
  check(handled == before && sigtimedwait(&alarm_only, NULL, &now) == SIGALRM, "the signal stays pending");
  pthread_sigmask(SIG_UNBLOCK, &alarm_only, NULL);
  free_td(&td);
}

int main(void) {
  struct sigaction action = {.sa_handler = on_signal};
  sigaction(SIGALRM, &action, NULL);
  sigaction(SIGUSR1, &action, NULL);
  interrupts(GUEST_SPINS, "KVM_RUN of a guest that spins, into which a signal comes");
  interrupts(GUEST_HALTS, "KVM_RUN of a guest that has halted, into which a signal comes");
  return finish();
}
