/*
 * A client that dies in the middle of things, many times over: whoever serves it must let go of all it had. Its last
 * TD, made when the others are gone, needs their KeyIDs.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "client.h"

static void* runs(void* argument) {
  const struct td* td = argument;
  ioctl(td->vcpu, KVM_RUN, 0);
  return NULL;
}

static void dies(int how) {
  static struct td td;
  pthread_t thread;
  switch (how) {
    case 0: /* with a TD at each stage */
    case 1:
    case 2:
    case 3:
    case 4:
    case 5:
      make_td((enum stage)how, GUEST_EXITS);
      kill(getpid(), SIGKILL);
      break;
    case 6: /* in KVM_RUN */
      td = make_td(FINALIZED, GUEST_SPINS);
      pthread_create(&thread, NULL, runs, &td);
      usleep(50000);
      kill(getpid(), SIGKILL);
      break;
    case 7: /* without closing anything */
      make_td(FINALIZED, GUEST_EXITS);
      exit(0);
    case 8: /* by its own fault */
      make_td(VCPU_INITIALIZED, GUEST_EXITS);
      abort();
    default: /* by replacing itself in the middle */
      make_td(MEMORY_ADDED, GUEST_EXITS);
      execl("/bin/true", "true", NULL);
  }
}

int main(int argc, char** argv) {
  const bool with_run = argc > 1 && strcmp(argv[1], "run") == 0;
  for (int round = 0; round < 3; round++) {
    for (int how = 0; how <= 9; how++) {
      if (how == 6 && !with_run) continue;
      const pid_t child = fork();
      if (child == 0) {
        dies(how);
        _exit(1);
      }
      int status = -1;
      waitpid(child, &status, 0);
      check(WIFSIGNALED(status) || WEXITSTATUS(status) == 0, "round %d: a client died (way %d)", round, how);
    }
  }
  struct td td = make_td(FINALIZED, GUEST_EXITS);
  check(td.vm >= 0, "and the next one has its TD");
  free_td(&td);
  return finish();
}
