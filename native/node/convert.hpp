// Between JavaScript's values and C++'s. Every conversion checks type and range, none runs JavaScript.
#pragma once

#include <napi.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "../core/cpuid.hpp"

namespace kvmtdx::node {

/** The arguments of a call. `name` is what the error calls the argument. All throw ArgumentError. */
class Arguments {
 public:
  explicit Arguments(const Napi::CallbackInfo& info) : info_(info) {}

  Napi::Env env() const { return info_.Env(); }
  Napi::Value operator[](size_t index) const { return info_[index]; }
  bool IsNull(size_t index) const { return info_[index].IsNull() || info_[index].IsUndefined(); }

  /** A number, 0 to 2^32-1. */
  uint32_t U32(size_t index, const char* name) const;
  /** A number, 0 to 2^53-1: bytes, offsets, pages. */
  uint64_t Size(size_t index, const char* name) const;
  /** A bigint, 0 to 2^64-1. */
  uint64_t U64(size_t index, const char* name) const;
  bool Boolean(size_t index, const char* name) const;
  std::string String(size_t index, const char* name) const;
  Napi::Function Function(size_t index, const char* name) const;

  // Views of the caller's memory, valid until JavaScript runs again: take them last, use them at once.
  std::span<uint8_t> U8s(size_t index, const char* name) const;
  std::span<const uint32_t> U32s(size_t index, const char* name) const;
  std::span<const uint64_t> U64s(size_t index, const char* name, size_t length) const;
  /** Seven numbers an entry: function, index, flags, eax, ebx, ecx, edx. */
  CpuidEntries Cpuid(size_t index, const char* name) const;

 private:
  template <typename T>
  std::span<T> View(size_t index, const char* name, napi_typedarray_type type, const char* type_name) const;

  const Napi::CallbackInfo& info_;
};

/** A number, 0 to 2^32-1, in one call of Node-API. @throws ArgumentError. */
uint32_t ToU32(napi_env env, napi_value value, const char* name);

Napi::Value FromBytes(Napi::Env env, std::span<const uint8_t> bytes);
Napi::Value FromU64s(Napi::Env env, std::span<const uint64_t> numbers);
Napi::Value FromCpuid(Napi::Env env, const CpuidEntries& entries);

}  // namespace kvmtdx::node
