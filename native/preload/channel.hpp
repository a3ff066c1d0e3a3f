// Channels: the connections that carry calls, one for each thread of each process.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "buffer.hpp"

namespace kvmtdx::preload {

/** Zeroed memory is a closed channel. */
struct Channel {
  /** Of the message that goes out, then of the one that came in. */
  Buffer buffer;
  int socket;
  bool open;
  /** A call is under way; found so on entry, we are in a signal handler that came in between. */
  bool busy;
  /** The call is one that INTERRUPT ends, and none was sent yet. */
  bool interruptible;
  pid_t process;
  /** What the socket was: the program may have closed our number and got it again for a file of its own. */
  uint64_t device;
  uint64_t inode;
  Channel* next;
  Channel* previous;
};

/** Lends the calling thread a channel for one call. */
class Borrowed {
 public:
  Borrowed();
  ~Borrowed();
  Borrowed(const Borrowed&) = delete;
  Borrowed& operator=(const Borrowed&) = delete;

  /** 0, or -errno where there is no channel. */
  int error() const { return error_; }
  Channel& operator*() { return *channel_; }
  Channel* operator->() { return channel_; }

 private:
  Channel* channel_;
  Channel own_{};
  int error_;
};

/** Ends the call under way, once. false: the connection is lost. */
bool Interrupt(Channel& channel);

/** The connection is lost: the next call makes another. */
void CloseChannel(Channel& channel);

/** Must run once, before any call: forgets in forked processes what was the parent's. */
void PrepareChannels();

}  // namespace kvmtdx::preload
