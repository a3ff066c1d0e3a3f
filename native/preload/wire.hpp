// The messages between this library and the model: u32 length of what follows, u32 type, payload; little endian.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "buffer.hpp"

namespace kvmtdx::preload {

inline constexpr uint32_t kVersion = 1;
inline constexpr uint32_t kMaxMessage = 64u << 20;

enum class Message : uint32_t {
  kHello = 1,
  kObject = 2,
  kCall = 3,
  kInterrupt = 4,
  kObjectOk = 128,
  kResult = 129,
};

enum class Operation : uint32_t { kIoctl = 0, kFallocate = 1, kMapVcpu = 2 };

/** OBJECT, `how`. */
enum class How : uint32_t { kOpens = 0, kAdopts = 1 };

/** A message in the making: Begin, Put what it says, End. */
inline bool Begin(Buffer& buffer, Message type) {
  buffer.Clear();
  return buffer.Put<uint32_t>(0) && buffer.Put(static_cast<uint32_t>(type));
}

/** false: it is longer than a message may be. */
inline bool End(Buffer& buffer) {
  const size_t length = buffer.size() - sizeof(uint32_t);
  if (length > kMaxMessage) return false;
  buffer.Patch(0, static_cast<uint32_t>(length));
  return true;
}

/** Takes a received message apart; what is not there is an error that stays. */
class Reader {
 public:
  Reader(const uint8_t* data, size_t length) : next_(data), left_(length) {}

  template <typename T>
  T Take() {
    T value{};
    const uint8_t* const place = Bytes(sizeof value);
    if (place != nullptr) std::memcpy(&value, place, sizeof value);
    return value;
  }

  /** null: there are not so many. */
  const uint8_t* Bytes(size_t length) {
    if (length > left_) {
      broken_ = true;
      left_ = 0;
      return nullptr;
    }
    const uint8_t* const start = next_;
    next_ += length;
    left_ -= length;
    return start;
  }

  /** Everything that was taken was there. */
  bool ok() const { return !broken_; }
  bool at_end() const { return left_ == 0; }

 private:
  const uint8_t* next_;
  size_t left_;
  bool broken_ = false;
};

struct Write {
  uint64_t address;
  uint32_t length;
  const uint8_t* bytes;
};

/** RESULT, whose writes are in the message it was read from. */
class Result {
 public:
  /** false: it is malformed. The message starts at its length. */
  bool Parse(const uint8_t* message, size_t length) {
    Reader reader(message, length);
    reader.Take<uint32_t>();
    if (reader.Take<uint32_t>() != static_cast<uint32_t>(Message::kResult)) return false;
    value = reader.Take<int64_t>();
    const auto flags = reader.Take<uint32_t>();
    made_object = (flags & 1) != 0;
    made_file = (flags & 2) != 0;
    writes_ = reader.Take<uint32_t>();
    start_ = reader;
    for (uint32_t i = 0; i < writes_ && reader.ok(); i++) Next(reader);
    return reader.ok() && reader.at_end() && value >= -4095;
  }

  /** Does `write` for each in order until it says false; false then. */
  template <typename Function>
  bool EachWrite(Function write) const {
    Reader reader = start_;
    for (uint32_t i = 0; i < writes_; i++) {
      if (!write(Next(reader))) return false;
    }
    return true;
  }

  /** What the system call returns, or -errno. */
  int64_t value = 0;
  bool made_object = false;
  bool made_file = false;

 private:
  static Write Next(Reader& reader) {
    const auto address = reader.Take<uint64_t>();
    const auto length = reader.Take<uint32_t>();
    return {address, length, reader.Bytes(length)};
  }

  uint32_t writes_ = 0;
  Reader start_{nullptr, 0};
};

}  // namespace kvmtdx::preload
