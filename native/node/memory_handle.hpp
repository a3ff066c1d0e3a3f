#pragma once

#include "../core/memory.hpp"
#include "handle.hpp"

namespace kvmtdx::node {

class GuestMemoryHandle : public Handle<GuestMemoryHandle, GuestMemory> {
 public:
  static constexpr napi_type_tag kTag{0x2f8e4c7ad1063b95, 0xb7e02d6c94f15a38};
  static constexpr const char* kName = "GuestMemory";
  static Properties Methods();
  /** Memory in a slot is meant to stay until its VM closes. */
  static bool Forgotten(const GuestMemory& memory) { return !memory.shared(); }
  using Handle::Handle;

 private:
  Napi::Value Read(const Arguments& arguments);
  Napi::Value Write(const Arguments& arguments);
  Napi::Value Discard(const Arguments& arguments);
};

class GuestMemfdHandle : public Handle<GuestMemfdHandle, GuestMemfd> {
 public:
  static constexpr napi_type_tag kTag{0x51c9b3e80f7a6d24, 0x8d36f1a4c25e9b07};
  static constexpr const char* kName = "GuestMemfd";
  static Properties Methods();
  using Handle::Handle;

 private:
  Napi::Value PunchHole(const Arguments& arguments);
};

}  // namespace kvmtdx::node
