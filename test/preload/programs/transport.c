/*
 * Drives the preload library alone: the other side is a script (transport.test.ts), whose requests mean what that says.
 * transport CASE
 */
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "../../clients/client.h"

#define ECHO _IO(KVM_IO, 0x03)     /* returns its argument */
#define MAKE KVM_CREATE_VM         /* makes an object */
#define MAKE_BADLY KVM_CREATE_VCPU /* makes one and writes to address 8 */
#define STATISTICS _IO(KVM_IO, 0xce) /* a file: hello */
#define FILL KVM_GET_REGS          /* writes 0xEE */
#define WAIT KVM_RUN               /* until INTERRUPT, then EINTR */
#define HANG_UP _IO(KVM_IO, 0xe9)
#define NONSENSE _IO(KVM_IO, 0xea) /* answers with argument bytes that are no message */
#define SLOW _IO(KVM_IO, 0xeb)     /* takes 100 ms */

static int kvm;

static long echo(int fd, int value) { return ioctl(fd, ECHO, value); }

static void opens(void) {
  check(echo(kvm, 42) == 42, "a request's value goes there and its result comes back");
  check((fcntl(kvm, F_GETFD) & FD_CLOEXEC) != 0, "O_CLOEXEC is kept");
  const int kept = open("/dev/kvm", O_RDWR);
  check((fcntl(kept, F_GETFD) & FD_CLOEXEC) == 0, "and not set where it was not asked for");
  check(kept == kvm + 1, "descriptors are the lowest free numbers");
  close(kept);
  const int folder = open("/dev", O_DIRECTORY | O_PATH);
  const int at = openat(folder, "kvm", O_RDWR);
  check(echo(at, 7) == 7, "openat() of kvm in /dev is /dev/kvm");
  close(at);
  close(folder);
  fails(open("/dev/kvm", O_RDWR | O_CREAT | O_EXCL, 0600), EEXIST, "creating it");
  fails(open("/dev/kvm", O_RDONLY | O_DIRECTORY), ENOTDIR, "opening it as a folder");
  fails(open((char*)8, O_RDONLY), EFAULT, "a path that cannot be read");
  fails(open("/dev/kvm-none", O_RDONLY), ENOENT, "another path");
}

static void copies(void) {
  const int copy = dup(kvm);
  close(kvm);
  check(echo(copy, 1) == 1, "dup() and close() of the original");
  const int second = dup2(copy, 100);
  check(second == 100 && echo(100, 2) == 2, "dup2()");
  check(echo(dup3(copy, 101, O_CLOEXEC), 3) == 3, "dup3()");
  const int third = fcntl(copy, F_DUPFD_CLOEXEC, 200);
  check(third >= 200 && echo(third, 4) == 4, "F_DUPFD_CLOEXEC");
  const int file = open("/dev/null", O_RDWR);
  dup2(file, 100);
  fails(ioctl(100, ECHO, 5), ENOTTY, "a request where a file has taken the number");
  int pair[2];
  must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), "socketpair");
  fails(ioctl(pair[0], ECHO, 6), ENOTTY, "a request on a socket that is not ours");
  close(copy);
  fails(ioctl(copy, ECHO, 0), EBADF, "a request on a closed descriptor");
}

static void passed(void) {
  int pair[2];
  must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), "socketpair");
  char space[CMSG_SPACE(sizeof(int))] = {0};
  char byte = 0;
  struct iovec vector = {&byte, 1};
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
  struct cmsghdr* control = CMSG_FIRSTHDR(&message);
  control->cmsg_level = SOL_SOCKET;
  control->cmsg_type = SCM_RIGHTS;
  control->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(control), &kvm, sizeof kvm);
  must(sendmsg(pair[0], &message, 0), "sendmsg");
  close(kvm);
  must(recvmsg(pair[1], &message, 0), "recvmsg");
  int received = -1;
  memcpy(&received, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof received);
  check(echo(received, 8) == 8, "a descriptor that came over a socket");
}

static void makes(void) {
  const int made = ioctl(kvm, MAKE, 0);
  succeeds(made, "a request that makes a descriptor");
  check((fcntl(made, F_GETFD) & FD_CLOEXEC) != 0, "which exec closes");
  check(made == kvm + 1, "it is the lowest free number");
  check(echo(made, 9) == 9, "and answers");
  const struct rlimit limit = {.rlim_cur = (rlim_t)made + 1, .rlim_max = 4096};
  const struct rlimit enough = {.rlim_cur = 1024, .rlim_max = 4096};
  setrlimit(RLIMIT_NOFILE, &limit);
  fails(ioctl(kvm, MAKE, 0), EMFILE, "without a free number");
  setrlimit(RLIMIT_NOFILE, &enough);
  fails(ioctl(kvm, MAKE_BADLY, 0), EFAULT, "one whose result cannot be written");
  check(open("/dev/null", O_RDONLY) == made + 1, "leaves no descriptor behind");
}

static void files(void) {
  const int file = ioctl(kvm, STATISTICS, 0);
  succeeds(file, "a request that makes the descriptor of a file");
  check(file == kvm + 1, "it is the lowest free number");
  check((fcntl(file, F_GETFD) & FD_CLOEXEC) != 0, "which exec closes");
  check((fcntl(file, F_GETFL) & O_ACCMODE) == O_RDONLY, "and which cannot be written");
  char text[16] = {0};
  check(pread(file, text, sizeof text, 2) == 3 && memcmp(text, "llo", 3) == 0, "read at an offset");
  struct stat status;
  check(fstat(file, &status) == 0 && status.st_nlink == 0, "its name is gone");
  fails(ioctl(file, ECHO, 1), ENOTTY, "it answers no request");
  const struct rlimit limit = {.rlim_cur = (rlim_t)file + 1, .rlim_max = 4096};
  setrlimit(RLIMIT_NOFILE, &limit);
  fails(ioctl(kvm, STATISTICS, 0), EMFILE, "without a free number");
  close(file);
  fails(ioctl(kvm, STATISTICS, 1), EIO, "a model that says it made one and did not");
}

static void memory(void) {
  uint64_t regs[18] = {0};
  succeeds(ioctl(kvm, FILL, regs), "a request that writes");
  check(regs[0] == 0xeeeeeeeeeeeeeeeeull && regs[17] == 0xeeeeeeeeeeeeeeeeull, "wrote");
  uint8_t* pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  mprotect(pages + PAGE, PAGE, PROT_NONE);
  fails(ioctl(kvm, FILL, pages + PAGE - 8), EFAULT, "one that writes into a page that is not there");
  fails(ioctl(kvm, FILL, NULL), EFAULT, "one that writes to NULL");
  fails(ioctl(kvm, FILL, (void*)~0ull), EFAULT, "one that writes past the end of memory");
  mprotect(pages, PAGE, PROT_READ);
  fails(ioctl(kvm, FILL, pages), EFAULT, "one that writes to a page that is read only");
}

static void polls(void) {
  int pipes[2];
  must(pipe(pipes), "pipe");
  struct pollfd list[] = {{kvm, POLLIN, 9}, {pipes[0], POLLIN, 9}, {-1, POLLIN, 9}, {kvm, POLLERR, 9}};
  check(poll(list, 4, -1) == 1, "poll() of a KVM descriptor does not wait");
  check(list[0].revents == POLLIN && list[1].revents == 0 && list[2].revents == 0 && list[3].revents == 0,
        "it is ready, others are not");
  must(write(pipes[1], "x", 1), "write");
  const struct timespec long_time = {100, 0};
  check(ppoll(list, 4, &long_time, NULL) == 2 && list[1].revents == POLLIN, "ppoll() says both");
  struct pollfd many[100];
  for (int i = 0; i < 100; i++) many[i] = (struct pollfd){kvm, POLLIN | POLLOUT, 0};
  check(poll(many, 100, 0) == 100 && many[99].revents == (POLLIN | POLLOUT), "so do a hundred");
  const int epoll = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN};
  fails(epoll_ctl(epoll, EPOLL_CTL_ADD, kvm, &event), EPERM, "epoll, as for files without a poll of their own");
  succeeds(epoll_ctl(epoll, EPOLL_CTL_ADD, pipes[0], &event), "epoll of a pipe");
}

static void maps(void) {
  uint8_t* page = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, kvm, 0);
  succeeds(page == MAP_FAILED ? -1 : 0, "mmap");
  check(page[0] == 'r' && page[3 * PAGE - 1] == 'r', "is the file beside the socket");
  page[5] = 'w';
  uint8_t* again = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, kvm, 0);
  check(again[5] == 'w', "shared");
  succeeds(munmap(page, 3 * PAGE), "munmap");
  succeeds(fallocate(kvm, 3, 4096, 8192), "fallocate, whose arguments the script checks");
  fails(fallocate(kvm, 0, -1, 8192), EINVAL, "fallocate that it refuses");
}

static volatile sig_atomic_t handled;
static void on_signal(int signal) {
  (void)signal;
  handled++;
}

static void after(int milliseconds) {
  const struct itimerval timer = {.it_value = {milliseconds / 1000, milliseconds % 1000 * 1000}};
  setitimer(ITIMER_REAL, &timer, NULL);
}

static int set_mask(sigset_t* set) {
  uint8_t bytes[12];
  struct kvm_signal_mask* mask = (struct kvm_signal_mask*)bytes;
  mask->len = 8;
  memcpy(mask->sigset, set, 8);
  return ioctl(kvm, KVM_SET_SIGNAL_MASK, mask);
}

static void signals(void) {
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  sigaction(SIGALRM, &action, NULL);
  after(30);
  fails(ioctl(kvm, WAIT, 0), EINTR, "KVM_RUN that a signal interrupts, SA_RESTART or not");
  check(handled == 1, "its handler ran");
  after(30);
  check(ioctl(kvm, SLOW, 0) == 0, "another request that a signal comes into");
  check(handled == 2, "its handler ran too");

  sigset_t alarm_only, none, pending;
  sigemptyset(&none);
  sigemptyset(&alarm_only);
  sigaddset(&alarm_only, SIGALRM);
  sigprocmask(SIG_BLOCK, &alarm_only, NULL);
  succeeds(set_mask(&none), "KVM_SET_SIGNAL_MASK that lets in what the thread blocks");
  after(30);
  fails(ioctl(kvm, WAIT, 0), EINTR, "KVM_RUN then, on a blocked signal");
  sigpending(&pending);
  check(sigismember(&pending, SIGALRM) == 1 && handled == 2, "which stays pending, its handler not called");
  fails(ioctl(kvm, WAIT, 0), EINTR, "KVM_RUN while it is pending");
  const struct timespec now = {0, 0};
  check(sigtimedwait(&alarm_only, NULL, &now) == SIGALRM, "sigtimedwait() takes it");
  sigprocmask(SIG_UNBLOCK, &alarm_only, NULL);

  action.sa_flags = 0;
  sigaction(SIGUSR1, &action, NULL);
  succeeds(set_mask(&alarm_only), "KVM_SET_SIGNAL_MASK that blocks what the thread lets in");
  const pid_t child = fork();
  if (child == 0) {
    usleep(30000);
    kill(getppid(), SIGALRM);
    usleep(60000);
    kill(getppid(), SIGUSR1);
    _exit(0);
  }
  struct timespec start, end;
  clock_gettime(CLOCK_MONOTONIC, &start);
  fails(ioctl(kvm, WAIT, 0), EINTR, "KVM_RUN then, on another signal");
  clock_gettime(CLOCK_MONOTONIC, &end);
  const long milliseconds = (end.tv_sec - start.tv_sec) * 1000 + (end.tv_nsec - start.tv_nsec) / 1000000;
  check(milliseconds >= 80 && handled == 4, "not on the one that it blocks (%ld ms)", milliseconds);
  waitpid(child, NULL, 0);
  succeeds(ioctl(kvm, KVM_SET_SIGNAL_MASK, NULL), "KVM_SET_SIGNAL_MASK with NULL");
  after(20);
  fails(ioctl(kvm, WAIT, 0), EINTR, "KVM_RUN with the thread's own mask again");
}

static void in_handler(int signal) {
  (void)signal;
  handled = echo(kvm, 77) == 77 ? 77 : -1;
}

static sigjmp_buf out_of_here;
static void jumps(int signal) {
  (void)signal;
  siglongjmp(out_of_here, 1);
}

static void handlers(void) {
  struct sigaction action = {.sa_handler = in_handler};
  sigaction(SIGALRM, &action, NULL);
  after(30);
  fails(ioctl(kvm, WAIT, 0), EINTR, "KVM_RUN into which a handler comes that makes requests itself");
  check(handled == 77, "they were answered");
  check(echo(kvm, 1) == 1, "and so are later ones");
  action.sa_handler = jumps;
  sigaction(SIGALRM, &action, NULL);
  after(30);
  if (sigsetjmp(out_of_here, 1) == 0) ioctl(kvm, WAIT, 0);
  check(echo(kvm, 2) == 2, "a handler may jump out of KVM_RUN");
}

static void* echoes(void* argument) {
  const long number = (long)argument;
  long wrong = 0;
  for (int i = 0; i < 200; i++) wrong += echo(kvm, (int)(number * 1000 + i)) != number * 1000 + i;
  return (void*)wrong;
}

static void threads(void) {
  pthread_t ids[8];
  long wrong = 0;
  for (long i = 0; i < 8; i++) pthread_create(&ids[i], NULL, echoes, (void*)i);
  for (int i = 0; i < 8; i++) {
    void* result = NULL;
    pthread_join(ids[i], &result);
    wrong += (long)result;
  }
  check(wrong == 0, "eight threads get their own answers");
}

static void* forks_often(void* argument) {
  const int number = (int)(long)argument;
  sigset_t before, after_all;
  sigemptyset(&before);
  sigaddset(&before, SIGRTMIN + number);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  for (int i = 0; i < 20; i++) {
    const pid_t child = fork();
    if (child == 0) _exit(echo(kvm, i) == i ? 0 : 1);
    int status = -1;
    if (echo(kvm, 100 + i) != 100 + i) return "the parent's request went wrong";
    if (waitpid(child, &status, 0) != child || status != 0) return "the child's request went wrong";
  }
  pthread_sigmask(SIG_SETMASK, NULL, &after_all);
  for (int signal = 1; signal < NSIG; signal++) {
    if (sigismember(&before, signal) != sigismember(&after_all, signal)) return "blocked signals are not as they were";
  }
  return NULL;
}

static void forking_threads(void) {
  pthread_t ids[6];
  for (long i = 0; i < 6; i++) pthread_create(&ids[i], NULL, forks_often, (void*)i);
  for (int i = 0; i < 6; i++) {
    void* wrong = NULL;
    pthread_join(ids[i], &wrong);
    check(wrong == NULL, "threads that fork at once%s%s", wrong ? ": " : "", wrong ? (const char*)wrong : "");
  }
}

static void forks(char* self) {
  check(echo(kvm, 1) == 1, "before fork()");
  const pid_t child = fork();
  if (child == 0) _exit(echo(kvm, 5) == 5 && echo(kvm, 6) == 6 ? 0 : 1);
  check(echo(kvm, 2) == 2, "the parent goes on");
  int status = -1;
  waitpid(child, &status, 0);
  check(status == 0, "a forked child has the descriptor");
  const int kept = dup(kvm);
  char number[12], closed[12];
  snprintf(number, sizeof number, "%d", kept);
  snprintf(closed, sizeof closed, "%d", kvm);
  const pid_t other = fork();
  if (other == 0) {
    execl(self, self, "exec", number, closed, NULL);
    _exit(2);
  }
  waitpid(other, &status, 0);
  check(status == 0, "so has a program that it executes, but for what exec closes");
}

static int executed(char** argv) {
  const int kept = atoi(argv[2]);
  const int closed = atoi(argv[3]);
  if (echo(kept, 11) != 11) return 1;
  return ioctl(closed, ECHO, 1) < 0 && errno == EBADF ? 0 : 1;
}

static void closed_under_us(void) {
  check(echo(kvm, 1) == 1, "a request");
  for (int fd = 3; fd < 1024; fd++) {
    if (fd != kvm) syscall(SYS_close, fd);
  }
  check(echo(kvm, 2) == 2, "another, after the program closed descriptors that are none of its own");
  const int file = open("/dev/null", O_RDWR);
  for (int fd = 3; fd < 1024; fd++) {
    if (fd != kvm && fd != file && syscall(SYS_fcntl, fd, F_GETFD) >= 0) syscall(SYS_dup2, file, fd);
  }
  check(echo(kvm, 3) == 3, "another, after it put files in their place");
}

static void lost(void) {
  fails(ioctl(kvm, HANG_UP, 0), EIO, "a request that the model hangs up on");
  check(echo(kvm, 1) == 1, "the next one makes a new connection");
  fails(ioctl(kvm, WAIT, 1), EIO, "KVM_RUN that it hangs up on");
  for (int kind = 0; kind < 6; kind++) fails(ioctl(kvm, NONSENSE, kind), EIO, "an answer that is no message");
  check(echo(kvm, 2) == 2, "and the next one");
}

static void plain(void) {
  int pair[2];
  int count = -1;
  must(pipe(pair), "pipe");
  must(write(pair[1], "abc", 3), "write");
  succeeds(ioctl(pair[0], 0x541b /* FIONREAD */, &count), "an ioctl that is not KVM's");
  check(count == 3, "is libc's");
  fails(ioctl(-1, ECHO, 0), EBADF, "a request on no descriptor");
  uint8_t* memory = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, open("/proc/self/exe", O_RDONLY), 0);
  check(memcmp(memory, "\177ELF", 4) == 0, "mmap of a file");
}

int main(int argc, char** argv) {
  const char* name = argc > 1 ? argv[1] : "";
  if (strcmp(name, "exec") == 0) return executed(argv);
  if (strcmp(name, "refused") == 0) {
    fails(open("/dev/kvm", O_RDWR), atoi(argv[2]), "opening /dev/kvm");
    return finish();
  }
  kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  must(kvm, "open of /dev/kvm");
  static const struct {
    const char* name;
    void (*run)(void);
  } cases[] = {{"opens", opens},
               {"copies", copies},
               {"passed", passed},
               {"makes", makes},
      {"files", files},
               {"memory", memory},
               {"polls", polls},
               {"maps", maps},
               {"signals", signals},
               {"handlers", handlers},
               {"threads", threads},
               {"forking_threads", forking_threads},
               {"closed_under_us", closed_under_us},
               {"lost", lost},
               {"plain", plain}};
  if (strcmp(name, "forks") == 0) forks(argv[0]);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    if (strcmp(name, cases[i].name) == 0) cases[i].run();
  }
  return finish();
}
