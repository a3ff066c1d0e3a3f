#include "channel.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>

#include "server.hpp"
#include "wire.hpp"

namespace kvmtdx::preload {
namespace {

constexpr uint64_t kAllSignals = ~uint64_t{0};
/** A buffer that some large request needed is not kept. */
constexpr size_t kKeep = 1 << 20;

constinit thread_local Channel* thread_channel = nullptr;
constinit pthread_key_t ends_with_thread{};

// All threads' channels, for fork. Held with all signals blocked: a handler may need a channel too.
constinit Channel* first = nullptr;
constinit std::atomic_flag locked = ATOMIC_FLAG_INIT;
constinit uint64_t signals_at_fork = 0;

void Lock(uint64_t& before) {
  Raw(SYS_rt_sigprocmask, SIG_SETMASK, &kAllSignals, &before, sizeof before);
  while (locked.test_and_set(std::memory_order_acquire)) Raw(SYS_sched_yield);
}

void Unlock(const uint64_t& before) {
  locked.clear(std::memory_order_release);
  Raw(SYS_rt_sigprocmask, SIG_SETMASK, &before, 0, sizeof before);
}

/** Out of the way of programs that count on low numbers; not far, as fork() copies the table up to the highest. */
int MoveUp(int descriptor) {
  rlimit limit{};
  if (Raw(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, &limit) != 0) return descriptor;
  constexpr uint64_t kHighest = 4096;
  const uint64_t from = std::min<uint64_t>(limit.rlim_cur, kHighest) / 4 * 3;
  const long moved = Raw(SYS_fcntl, descriptor, F_DUPFD_CLOEXEC, from);
  if (moved < 0) return descriptor;
  RawClose(descriptor);
  return static_cast<int>(moved);
}

/** The model reads and writes guest memory through /proc/PID/mem, which Yama allows to a declared tracer. */
void AllowModel(int socket) {
  ucred peer{};
  unsigned length = sizeof peer;
  if (Raw(SYS_getsockopt, socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0 || peer.pid <= 0) return;
  Raw(SYS_prctl, PR_SET_PTRACER, peer.pid);
}

bool IsStillOurs(const Channel& channel) {
  struct stat now {};
  return Raw(SYS_fstat, channel.socket, &now) == 0 && now.st_dev == channel.device && now.st_ino == channel.inode;
}

int Open(Channel& channel) {
  const int fresh = NewSocket(SOCK_CLOEXEC);
  if (fresh < 0) return fresh;
  const int refused = Connect(fresh);
  if (refused != 0) {
    RawClose(fresh);
    return refused;
  }
  channel.socket = MoveUp(fresh);
  channel.open = true;
  channel.interruptible = false;
  channel.process = static_cast<pid_t>(Raw(SYS_getpid));
  struct stat now {};
  Raw(SYS_fstat, channel.socket, &now);
  channel.device = now.st_dev;
  channel.inode = now.st_ino;
  AllowModel(channel.socket);
  Buffer& buffer = channel.buffer;
  if (Begin(buffer, Message::kHello) && buffer.Put(kVersion) && buffer.Put(static_cast<uint32_t>(channel.process)) &&
      buffer.Put(static_cast<uint32_t>(Raw(SYS_gettid))) && End(buffer) &&
      SendAll(channel.socket, buffer.data(), buffer.size())) {
    return 0;
  }
  CloseChannel(channel);
  return -EIO;
}

/** A channel, closed, in the list. */
Channel* NewChannel() {
  const long page = Raw(SYS_mmap, 0, kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (IsError(page)) return nullptr;
  auto* const channel = reinterpret_cast<Channel*>(page);
  uint64_t before = 0;
  Lock(before);
  channel->next = first;
  if (first != nullptr) first->previous = channel;
  first = channel;
  Unlock(before);
  return channel;
}

void Free(Channel* channel) {
  CloseChannel(*channel);
  channel->buffer.Release();
  Raw(SYS_munmap, channel, kPageSize);
}

void EndOfThread(void* ended) {
  auto* const channel = static_cast<Channel*>(ended);
  uint64_t before = 0;
  Lock(before);
  if (channel->next != nullptr) channel->next->previous = channel->previous;
  (channel->previous != nullptr ? channel->previous->next : first) = channel->next;
  thread_channel = nullptr;
  Unlock(before);
  Free(channel);
}

void BeforeFork() {
  uint64_t before = 0;
  Lock(before);
  // Only now: another thread may fork at the same time.
  signals_at_fork = before;
}

void AfterFork() {
  const uint64_t before = signals_at_fork;
  Unlock(before);
}

// The model must see the end of a parent that dies, so its channels are not kept open here.
void InChild() {
  for (Channel* channel = first; channel != nullptr;) {
    Channel* const next = channel->next;
    Free(channel);
    channel = next;
  }
  first = nullptr;
  thread_channel = nullptr;
  pthread_setspecific(ends_with_thread, nullptr);
  AfterFork();
}

/** The thread's channel, which may be busy or closed; null without memory. */
Channel* ThreadChannel() {
  if (thread_channel == nullptr) {
    thread_channel = NewChannel();
    if (thread_channel != nullptr) pthread_setspecific(ends_with_thread, thread_channel);
  }
  return thread_channel;
}

}  // namespace

void CloseChannel(Channel& channel) {
  if (channel.open && IsStillOurs(channel)) RawClose(channel.socket);
  channel.open = channel.interruptible = false;
}

bool Interrupt(Channel& channel) {
  if (!channel.interruptible) return true;
  channel.interruptible = false;
  const uint32_t message[] = {sizeof(uint32_t), static_cast<uint32_t>(Message::kInterrupt)};
  return SendAll(channel.socket, reinterpret_cast<const uint8_t*>(message), sizeof message);
}

Borrowed::Borrowed() : channel_(ThreadChannel()), error_(0) {
  if (channel_ == nullptr) {
    error_ = -ENOMEM;
    return;
  }
  if (channel_->busy) {
    // A handler's call ends the run that the signal came into: the handler may never return to it.
    Interrupt(*channel_);
    channel_ = &own_;
  } else if (channel_->open && (channel_->process != Raw(SYS_getpid) || !IsStillOurs(*channel_))) {
    CloseChannel(*channel_);
  }
  channel_->busy = true;
  if (!channel_->open) error_ = Open(*channel_);
}

Borrowed::~Borrowed() {
  if (channel_ == nullptr) return;
  channel_->busy = channel_->interruptible = false;
  if (channel_ == &own_) {
    CloseChannel(own_);
    own_.buffer.Release();
  } else if (channel_->buffer.capacity() > kKeep) {
    channel_->buffer.Release();
  }
}

void PrepareChannels() {
  pthread_key_create(&ends_with_thread, EndOfThread);
  pthread_atfork(BeforeFork, AfterFork, InChild);
}

}  // namespace kvmtdx::preload
