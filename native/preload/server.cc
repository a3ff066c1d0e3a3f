#include "server.hpp"

#include <sys/socket.h>

#include <cerrno>

#include "wire.hpp"

namespace kvmtdx::preload {

constinit Server server;

void Server::Set(const char* path) {
  length_ = 0;
  if (path == nullptr || path[0] == '\0') return;
  // One that is too long is cut: that fails and says so, and the program does not get the real KVM in its place.
  const size_t length = strnlen(path, sizeof address_.sun_path - 1);
  address_.sun_family = AF_UNIX;
  std::memcpy(address_.sun_path, path, length);
  address_.sun_path[length] = '\0';
  length_ = static_cast<unsigned>(offsetof(sockaddr_un, sun_path) + length + 1);
}

int NewSocket(int close_on_exec) { return static_cast<int>(Raw(SYS_socket, AF_UNIX, SOCK_STREAM | close_on_exec, 0)); }

namespace {

void Say(const char* text) { Raw(SYS_write, 2, text, strlen(text)); }

}  // namespace

int Connect(int socket) {
  const long result = Again([&] { return Raw(SYS_connect, socket, &server.address(), server.length()); });
  if (result == 0) return 0;
  if (result == -EMFILE || result == -ENFILE || result == -ENOMEM) return static_cast<int>(result);
  Say("kvm-tdx: no model answers at the socket that KVM_TDX_MOCK names, ");
  Say(server.path());
  Say("; /dev/kvm fails with EIO. Is tdxctl with-mock still running?\n");
  return -EIO;
}

bool SendAll(int socket, const uint8_t* bytes, size_t length) {
  while (length > 0) {
    const long sent = Again([&] { return Raw(SYS_sendto, socket, bytes, length, MSG_NOSIGNAL, 0, 0); });
    if (sent <= 0) return false;
    bytes += sent;
    length -= static_cast<size_t>(sent);
  }
  return true;
}

bool ReceiveMessage(int socket, Buffer& buffer) {
  buffer.Clear();
  // The first read usually brings all of it.
  if (!buffer.Reserve(kPageSize)) return false;
  constexpr size_t kLength = sizeof(uint32_t);
  size_t wanted = kLength;
  while (buffer.size() < wanted) {
    const size_t size = buffer.size();
    const size_t room = buffer.capacity() - size;
    const long got = Again([&] { return Raw(SYS_recvfrom, socket, buffer.data() + size, room, 0, 0, 0); });
    if (got <= 0) return false;
    buffer.Extend(static_cast<size_t>(got));
    if (size < kLength && buffer.size() >= kLength) {
      uint32_t length = 0;
      std::memcpy(&length, buffer.data(), kLength);
      if (length > kMaxMessage) return false;
      wanted = kLength + length;
      if (!buffer.Reserve(wanted)) return false;
    }
  }
  return buffer.size() == wanted;
}

}  // namespace kvmtdx::preload
