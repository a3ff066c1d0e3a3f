// The pieces of memory that go with a call.
#pragma once

#include <cstdint>

#include "buffer.hpp"
#include "shape.hpp"

namespace kvmtdx::preload {

/** Pieces of a message: u64 address, u32 length, u32 readable, bytes. */
class Pieces {
 public:
  /** Appends to `message`, the count first. */
  explicit Pieces(Buffer& message);

  /**
   * Appends what can be read of a range, then what cannot.
   * @returns how many bytes could be read; they are at the end of the message.
   */
  size_t Add(uint64_t address, size_t length);

  /** Writes the count. false: there was no memory for the message. */
  bool Finish();

 private:
  bool Head(uint64_t address, size_t length, bool readable);

  Buffer& message_;
  size_t count_at_;
  uint32_t count_ = 0;
  bool whole_;
};

/** Appends all pieces of a request. false: there was no memory for them. */
bool AddPieces(Buffer& message, const Shape& shape, uint64_t argument);

}  // namespace kvmtdx::preload
