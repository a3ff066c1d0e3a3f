#include "object.hpp"

#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "server.hpp"
#include "wire.hpp"

namespace kvmtdx::preload {
namespace {

// The abstract name: a zero, this, 16 digits of the id. exec, dup and SCM_RIGHTS keep it.
constexpr char kPrefix[] = "\0kvm-tdx-mock/";
constexpr size_t kPrefixLength = sizeof kPrefix - 1;
constexpr size_t kDigits = 16;
constexpr unsigned kNameLength = offsetof(sockaddr_un, sun_path) + kPrefixLength + kDigits;

int DigitValue(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  return -1;
}

uint64_t ParseId(const char* digits) {
  uint64_t id = 0;
  for (size_t i = 0; i < kDigits; i++) {
    const int value = DigitValue(digits[i]);
    if (value < 0) return 0;
    id = id << 4 | static_cast<uint64_t>(value);
  }
  return id;
}

}  // namespace

void FormatId(uint64_t id, char* digits) {
  for (size_t i = 0; i < kDigits; i++) digits[i] = "0123456789abcdef"[id >> (60 - 4 * i) & 15];
}

uint64_t ObjectOf(int descriptor) {
  sockaddr_un name{};
  unsigned length = sizeof name;
  if (Raw(SYS_getsockname, descriptor, &name, &length) != 0) return 0;
  if (length != kNameLength || name.sun_family != AF_UNIX) return 0;
  if (std::memcmp(name.sun_path, kPrefix, kPrefixLength) != 0) return 0;
  return ParseId(name.sun_path + kPrefixLength);
}

uint64_t NewObjectId() {
  uint64_t id = 0;
  while (id == 0) Again([&] { return Raw(SYS_getrandom, &id, sizeof id, 0); });
  return id;
}

int ReserveObject(uint64_t id, bool close_on_exec) {
  const int descriptor = NewSocket(close_on_exec ? SOCK_CLOEXEC : 0);
  if (descriptor < 0) return descriptor;
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  std::memcpy(name.sun_path, kPrefix, kPrefixLength);
  FormatId(id, name.sun_path + kPrefixLength);
  const long bound = Raw(SYS_bind, descriptor, &name, kNameLength);
  if (bound == 0) return descriptor;
  RawClose(descriptor);
  return static_cast<int>(bound);
}

int ConnectObject(int descriptor, uint64_t id, bool adopts) {
  const int connected = Connect(descriptor);
  if (connected != 0) return connected;
  Buffer message{};
  int error = -EIO;
  if (Begin(message, Message::kObject) && message.Put(kVersion) &&
      message.Put(static_cast<uint32_t>(Raw(SYS_getpid))) && message.Put(id) &&
      message.Put(adopts ? How::kAdopts : How::kOpens) && End(message) &&
      SendAll(descriptor, message.data(), message.size()) && ReceiveMessage(descriptor, message)) {
    Reader reader(message.data(), message.size());
    reader.Take<uint32_t>();
    const bool answered = reader.Take<uint32_t>() == static_cast<uint32_t>(Message::kObjectOk);
    const auto refused = reader.Take<int32_t>();
    reader.Take<uint32_t>();
    // An errno either way round.
    if (answered && reader.ok() && reader.at_end()) error = refused > 0 ? -refused : refused;
  }
  message.Release();
  return error;
}

}  // namespace kvmtdx::preload
