// Where the model is, and connections to it.
#pragma once

#include <sys/un.h>

#include <cstdint>

#include "buffer.hpp"

namespace kvmtdx::preload {

/** The socket that KVM_TDX_MOCK named when the program started. */
class Server {
 public:
  /** `path` may be null: there is no model. */
  constexpr Server() = default;
  void Set(const char* path);

  bool known() const { return length_ != 0; }
  const char* path() const { return address_.sun_path; }
  const sockaddr_un& address() const { return address_; }
  unsigned length() const { return length_; }

 private:
  sockaddr_un address_{};
  unsigned length_ = 0;
};

extern Server server;

/** A stream socket; -errno. `close_on_exec` is SOCK_CLOEXEC or 0. */
int NewSocket(int close_on_exec);

/** 0 or -errno: EIO, and a line on standard error, where no model answers. */
int Connect(int socket);

/** Sends all of it; false: the connection is lost. */
bool SendAll(int socket, const uint8_t* bytes, size_t length);

/** Receives one message into `buffer`, whole and nothing more; false: the connection is lost or what came is malformed.
 */
bool ReceiveMessage(int socket, Buffer& buffer);

}  // namespace kvmtdx::preload
