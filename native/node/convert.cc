#include "convert.hpp"

#include <algorithm>
#include <cmath>

#include "../core/error.hpp"

namespace kvmtdx::node {
namespace {

constexpr size_t kNumbersPerEntry = 7;
constexpr double kMostSafeInteger = 9007199254740991.0;

const char* TypeName(const Napi::Value& value) {
  switch (value.Type()) {
    case napi_undefined:
      return "undefined";
    case napi_null:
      return "null";
    case napi_boolean:
      return "a boolean";
    case napi_number:
      return "a number";
    case napi_string:
      return "a string";
    case napi_symbol:
      return "a symbol";
    case napi_function:
      return "a function";
    case napi_bigint:
      return "a bigint";
    default:
      return "an object";
  }
}

[[noreturn]] void ThrowNot(const char* name, const std::string& expected, const Napi::Value& value) {
  ThrowType(std::string(name) + " must be " + expected + ", got " + TypeName(value));
}

double Integer(const Napi::Value& value, const char* name, double most, const char* most_text) {
  const std::string expected = std::string("an integer from 0 to ") + most_text;
  if (!value.IsNumber()) ThrowNot(name, expected, value);
  const double number = value.As<Napi::Number>().DoubleValue();
  // Written so that NaN fails as well.
  if (!(number >= 0 && number <= most && number == std::trunc(number))) {
    ThrowRange(std::string(name) + " must be " + expected + ", got " + std::to_string(number));
  }
  return number;
}

/** A new typed array over a copy of `bytes`. */
template <typename T>
Napi::Value Copied(Napi::Env env, std::span<const T> numbers) {
  auto array = Napi::TypedArrayOf<T>::New(env, numbers.size());
  std::ranges::copy(numbers, array.Data());  // as long as `numbers`: made so one line above
  return {env, array};
}

}  // namespace

uint32_t ToU32(napi_env env, napi_value value, const char* name) {
  double number = -1;
  napi_get_value_double(env, value, &number);
  // Usual values stop here; the conversion is defined for them only.
  if (number >= 0 && number <= UINT32_MAX) {
    const auto whole = static_cast<uint32_t>(number);
    if (number == whole) return whole;
  }
  return static_cast<uint32_t>(Integer({env, value}, name, UINT32_MAX, "2^32-1"));
}

uint32_t Arguments::U32(size_t index, const char* name) const { return ToU32(env(), info_[index], name); }

uint64_t Arguments::Size(size_t index, const char* name) const {
  return static_cast<uint64_t>(Integer(info_[index], name, kMostSafeInteger, "2^53-1"));
}

uint64_t Arguments::U64(size_t index, const char* name) const {
  const Napi::Value value = info_[index];
  if (!value.IsBigInt()) ThrowNot(name, "a bigint from 0 to 2^64-1", value);
  bool lossless = false;
  const uint64_t number = value.As<Napi::BigInt>().Uint64Value(&lossless);
  if (!lossless) ThrowRange(std::string(name) + " must be a bigint from 0 to 2^64-1");
  return number;
}

bool Arguments::Boolean(size_t index, const char* name) const {
  if (!info_[index].IsBoolean()) ThrowNot(name, "a boolean", info_[index]);
  return info_[index].As<Napi::Boolean>();
}

std::string Arguments::String(size_t index, const char* name) const {
  if (!info_[index].IsString()) ThrowNot(name, "a string", info_[index]);
  return info_[index].As<Napi::String>();
}

Napi::Function Arguments::Function(size_t index, const char* name) const {
  if (!info_[index].IsFunction()) ThrowNot(name, "a function", info_[index]);
  return info_[index].As<Napi::Function>();
}

// The engine vouches for start and length of a typed array; a detached one has length 0.
template <typename T>
std::span<T> Arguments::View(size_t index, const char* name, napi_typedarray_type type, const char* type_name) const {
  const Napi::Value value = info_[index];
  if (!value.IsTypedArray()) ThrowNot(name, type_name, value);
  napi_typedarray_type actual{};
  size_t length = 0;
  void* start = nullptr;
  if (napi_get_typedarray_info(env(), value, &actual, &length, &start, nullptr, nullptr) != napi_ok || actual != type) {
    ThrowType(std::string(name) + " must be " + type_name + ", got another typed array");
  }
  if (start == nullptr) length = 0;
  return {static_cast<T*>(start), length};
}

std::span<uint8_t> Arguments::U8s(size_t index, const char* name) const {
  return View<uint8_t>(index, name, napi_uint8_array, "a Uint8Array");
}

std::span<const uint32_t> Arguments::U32s(size_t index, const char* name) const {
  return View<const uint32_t>(index, name, napi_uint32_array, "a Uint32Array");
}

std::span<const uint64_t> Arguments::U64s(size_t index, const char* name, size_t length) const {
  const auto numbers = View<const uint64_t>(index, name, napi_biguint64_array, "a BigUint64Array");
  if (numbers.size() != length) {
    ThrowRange(std::string(name) + " must have " + std::to_string(length) + " elements, got " +
               std::to_string(numbers.size()));
  }
  return numbers;
}

CpuidEntries Arguments::Cpuid(size_t index, const char* name) const {
  const auto numbers = U32s(index, name);
  if (numbers.size() % kNumbersPerEntry != 0) ThrowRange(std::string(name) + " must have 7 numbers an entry");
  CpuidEntries entries;
  entries.reserve(numbers.size() / kNumbersPerEntry);
  for (size_t at = 0; at < numbers.size(); at += kNumbersPerEntry) {
    const auto row = numbers.subspan(at, kNumbersPerEntry);
    entries.push_back({row[0], row[1], row[2], row[3], row[4], row[5], row[6], {}});
  }
  return entries;
}

Napi::Value FromBytes(Napi::Env env, std::span<const uint8_t> bytes) { return Copied(env, bytes); }

Napi::Value FromU64s(Napi::Env env, std::span<const uint64_t> numbers) {
  auto array = Napi::BigUint64Array::New(env, numbers.size(), napi_biguint64_array);
  std::ranges::copy(numbers, array.Data());
  return {env, array};
}

Napi::Value FromCpuid(Napi::Env env, const CpuidEntries& entries) {
  std::vector<uint32_t> numbers;
  numbers.reserve(entries.size() * kNumbersPerEntry);
  for (const auto& entry : entries) {
    numbers.insert(numbers.end(),
                   {entry.function, entry.index, entry.flags, entry.eax, entry.ebx, entry.ecx, entry.edx});
  }
  return Copied<uint32_t>(env, numbers);
}

}  // namespace kvmtdx::node
