#include "call.hpp"

#include <fcntl.h>

#include <cerrno>

#include "channel.hpp"
#include "descriptors.hpp"
#include "memory.hpp"
#include "object.hpp"
#include "pieces.hpp"
#include "run.hpp"
#include "server.hpp"
#include "shape.hpp"
#include "wire.hpp"

namespace kvmtdx::preload {
namespace {

struct Call {
  Operation operation = Operation::kIoctl;
  uint64_t object = 0;
  uint32_t request = 0;
  uint64_t argument = 0;
  uint64_t new_object = 0;
  /** Of an ioctl that names another descriptor: its object, and whether there is such a descriptor at all. */
  uint64_t arguments[4] = {};
};

struct Answer {
  long value;
  bool made_object = false;
  bool made_file = false;
};

bool Compose(Buffer& message, const Call& call, const Shape& shape) {
  bool whole = Begin(message, Message::kCall) && message.Put(call.object) && message.Put(call.operation) &&
               message.Put(call.request) && message.Put(call.argument) && message.Put(call.new_object);
  for (const uint64_t argument : call.arguments) whole = whole && message.Put(argument);
  return whole && AddPieces(message, shape, call.argument) && End(message);
}

/** Carries one call there and back. `run`: the mask of a KVM_RUN, null for any other request. */
Answer Carry(const Call& call, const Shape& shape, const SignalMask* run) {
  Borrowed channel;
  if (channel.error() != 0) return {channel.error()};
  Buffer& message = channel->buffer;
  if (!Compose(message, call, shape)) return {-ENOMEM};
  const bool answered = run == nullptr ? SendAll(channel->socket, message.data(), message.size()) &&
                                             ReceiveMessage(channel->socket, message)
                                       : SendAndWait(*channel, *run);
  Result result;
  if (!answered || !result.Parse(message.data(), message.size())) {
    CloseChannel(*channel);
    return {-EIO};
  }
  const bool written = result.EachWrite(
      [](const Write& write) { return write.length == 0 || WriteOwn(write.address, write.bytes, write.length); });
  return {written ? static_cast<long>(result.value) : -EFAULT, result.made_object, result.made_file};
}

/** Takes over what a request made under `id`, with the descriptor that was reserved for it. */
long Adopt(int descriptor, uint64_t id, const Answer& answer) {
  long value = answer.value;
  if (answer.made_object) {
    const int refused = ConnectObject(descriptor, id, true);
    if (refused != 0) value = refused;
  } else if (value >= 0) {
    value = -EIO;  // a model that made nothing and says it succeeded
  }
  if (value < 0) {
    // Connected and closed again, what was made is released.
    RawClose(descriptor);
    return value;
  }
  Remember(descriptor);
  return descriptor;
}

/** The path of a file beside the socket: `prefix`, an object's id. */
struct Beside {
  char path[sizeof(sockaddr_un::sun_path) + 32];

  template <size_t kLength>
  Beside(const char (&prefix)[kLength], uint64_t id) {
    const char* const socket = server.path();
    const char* const slash = strrchr(socket, '/');
    const size_t folder = slash == nullptr ? 0 : static_cast<size_t>(slash - socket) + 1;
    std::memcpy(path, socket, folder);
    std::memcpy(path + folder, prefix, kLength - 1);
    FormatId(id, path + folder + kLength - 1);
    path[folder + kLength - 1 + 16] = '\0';
  }
};

/** The descriptor of a file that a request made under `id`; its name is of no use to anybody else. */
long OpenMade(uint64_t id, const Answer& answer) {
  if (answer.value < 0) return answer.value;
  if (!answer.made_file) return -EIO;
  const Beside file("file-", id);
  const long descriptor = Again([&] { return Raw(SYS_openat, AT_FDCWD, file.path, O_RDONLY | O_CLOEXEC); });
  Raw(SYS_unlink, file.path);
  return descriptor;
}

void NameDescriptor(Call& call, uint16_t at) {
  uint32_t number = 0;
  if (ReadOwn(call.argument + at, &number, sizeof number) != sizeof number) return;
  const int descriptor = static_cast<int>(number);
  call.arguments[0] = ObjectOf(descriptor);
  call.arguments[1] = Raw(SYS_fcntl, descriptor, F_GETFD) >= 0 ? 1 : 0;
}

/** What KVM_SET_SIGNAL_MASK, which was accepted, has set. */
SignalMask MaskAt(uint64_t argument) {
  SignalMask mask{};
  constexpr size_t kAfterLength = 4;
  if (argument != 0) {
    mask.set = ReadOwn(argument + kAfterLength, &mask.blocked, sizeof mask.blocked) == sizeof mask.blocked;
  }
  return mask;
}

}  // namespace

long OpenKvm(bool close_on_exec) {
  const uint64_t id = NewObjectId();
  const int descriptor = ReserveObject(id, close_on_exec);
  if (descriptor < 0) return descriptor;
  const int refused = ConnectObject(descriptor, id, false);
  if (refused != 0) {
    RawClose(descriptor);
    return refused;
  }
  Remember(descriptor);
  return descriptor;
}

long Ioctl(int descriptor, uint64_t object, uint32_t request, uint64_t argument) {
  const Shape shape = ShapeOf(request);
  Call call{.operation = Operation::kIoctl, .object = object, .request = request, .argument = argument};
  if (shape.descriptor_at != 0) NameDescriptor(call, shape.descriptor_at);
  if (shape.makes != Makes::kNothing) call.new_object = NewObjectId();
  if (shape.makes == Makes::kFile) return OpenMade(call.new_object, Carry(call, shape, nullptr));
  if (shape.makes != Makes::kNothing) {
    // Before the call, so that there is a number for what the model makes.
    const int reserved = ReserveObject(call.new_object, shape.makes == Makes::kCloseOnExec);
    if (reserved < 0) return reserved;
    return Adopt(reserved, call.new_object, Carry(call, shape, nullptr));
  }
  if (shape.effect == Effect::kRun) {
    const SignalMask mask = SignalMaskOf(descriptor, object);
    return Carry(call, shape, &mask).value;
  }
  const long value = Carry(call, shape, nullptr).value;
  if (shape.effect == Effect::kSignalMask && value == 0) {
    Remember(descriptor);
    SetSignalMask(descriptor, object, MaskAt(argument));
  }
  return value;
}

long Fallocate(uint64_t object, int mode, int64_t offset, int64_t length) {
  const Call call{
      .operation = Operation::kFallocate,
      .object = object,
      .arguments = {static_cast<uint32_t>(mode), static_cast<uint64_t>(offset), static_cast<uint64_t>(length)}};
  return Carry(call, {}, nullptr).value;
}

long Map(uint64_t object, void* address, size_t length, int protection, int flags, int64_t offset) {
  const Call call{.operation = Operation::kMapVcpu,
                  .object = object,
                  .arguments = {length, static_cast<uint32_t>(protection), static_cast<uint32_t>(flags),
                                static_cast<uint64_t>(offset)}};
  const long refused = Carry(call, {}, nullptr).value;
  if (refused < 0) return refused;
  const Beside page("run-", object);
  const long file = Again([&] { return Raw(SYS_openat, AT_FDCWD, page.path, O_RDWR | O_CLOEXEC); });
  if (file < 0) return -EIO;
  const long mapped = Raw(SYS_mmap, address, length, protection, flags, file, offset);
  RawClose(static_cast<int>(file));
  return mapped;
}

}  // namespace kvmtdx::preload
