#include "memory_handle.hpp"

namespace kvmtdx::node {

GuestMemoryHandle::Properties GuestMemoryHandle::Methods() {
  return {
      Method<&GuestMemoryHandle::Read>("read"),         Method<&GuestMemoryHandle::Write>("write"),
      Method<&GuestMemoryHandle::Discard>("discard"),   Method<&GuestMemoryHandle::Close>("close"),
      Method<&GuestMemoryHandle::IsClosed>("isClosed"),
  };
}

/** read(offset, into: Uint8Array): TypeScript allocates, because it can fail politely. */
Napi::Value GuestMemoryHandle::Read(const Arguments& arguments) {
  const uint64_t offset = arguments.Size(0, "offset");
  core().Read(offset, std::as_writable_bytes(arguments.U8s(1, "into")));
  return arguments.env().Undefined();
}

/** write(offset, bytes: Uint8Array) */
Napi::Value GuestMemoryHandle::Write(const Arguments& arguments) {
  const uint64_t offset = arguments.Size(0, "offset");
  core().Write(offset, std::as_bytes(arguments.U8s(1, "bytes")));
  return arguments.env().Undefined();
}

/** discard(offset, length) */
Napi::Value GuestMemoryHandle::Discard(const Arguments& arguments) {
  const uint64_t offset = arguments.Size(0, "offset");
  core().Discard(offset, arguments.Size(1, "length"));
  return arguments.env().Undefined();
}

GuestMemfdHandle::Properties GuestMemfdHandle::Methods() {
  return {
      Method<&GuestMemfdHandle::PunchHole>("punchHole"),
      Method<&GuestMemfdHandle::Close>("close"),
      Method<&GuestMemfdHandle::IsClosed>("isClosed"),
  };
}

/** punchHole(offset, length) */
Napi::Value GuestMemfdHandle::PunchHole(const Arguments& arguments) {
  const uint64_t offset = arguments.Size(0, "offset");
  core().PunchHole(offset, arguments.Size(1, "length"));
  return arguments.env().Undefined();
}

}  // namespace kvmtdx::node
