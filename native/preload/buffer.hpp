// Bytes of one message. Not from malloc: a call may be made in a signal handler.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "raw.hpp"

namespace kvmtdx::preload {

/** Zeroed memory is an empty buffer; Release() gives its pages back. */
class Buffer {
 public:
  uint8_t* data() { return data_; }
  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }
  size_t capacity() const { return capacity_; }

  void Clear() { size_ = 0; }
  void Release();

  /** Makes room for `size` bytes in all. false: there is no memory. */
  bool Reserve(size_t size);

  /** Lengthens the content by `length` bytes, which the caller writes; null without memory. */
  uint8_t* Extend(size_t length) {
    if (!Reserve(size_ + length)) return nullptr;
    uint8_t* const start = data_ + size_;
    size_ += length;
    return start;
  }

  void Shrink(size_t size) { size_ = size; }

  template <typename T>
  bool Put(T value) {
    uint8_t* const place = Extend(sizeof value);
    if (place == nullptr) return false;
    std::memcpy(place, &value, sizeof value);
    return true;
  }

  /** Overwrites at `offset`, which is inside. */
  template <typename T>
  void Patch(size_t offset, T value) {
    std::memcpy(data_ + offset, &value, sizeof value);
  }

 private:
  uint8_t* data_;
  size_t size_;
  size_t capacity_;
};

}  // namespace kvmtdx::preload
