#include "pieces.hpp"

#include <algorithm>

#include "memory.hpp"

namespace kvmtdx::preload {
namespace {

/** The first bytes of a struct, as they were sent: read once, so that nobody can change them in between. */
struct Head {
  uint8_t bytes[kLongestHead];
  size_t length;

  template <typename T>
  bool Get(size_t at, T& value) const {
    if (at + sizeof value > length) return false;
    std::memcpy(&value, bytes + at, sizeof value);
    return true;
  }
};

void AddHead(Pieces& pieces, Buffer& message, uint64_t address, size_t length, Head& head) {
  const size_t before = message.size();
  const size_t read = pieces.Add(address, length);
  head.length = std::min(read, sizeof head.bytes);
  constexpr size_t kPieceHead = 16;
  if (head.length != 0) std::memcpy(head.bytes, message.data() + before + kPieceHead, head.length);
}

void AddTail(Pieces& pieces, const Head& head, uint64_t address, size_t length, const Tail& tail) {
  uint32_t count = 0;
  if (tail.element == 0 || !head.Get(tail.count_at, count)) return;
  const size_t end = tail.first_at + size_t{std::min(count, tail.most)} * tail.element;
  if (end > length) pieces.Add(address + length, end - length);
}

void AddPointed(Pieces& pieces, Buffer& message, uint64_t address, const Pointed& pointed) {
  if (pointed.length == 0) return;
  Head head{};
  AddHead(pieces, message, address + pointed.offset, pointed.length, head);
  AddTail(pieces, head, address + pointed.offset, pointed.length, pointed.tail);
}

void AddRegister(Pieces& pieces, const Head& head, uint64_t address) {
  uint64_t id = 0;
  // KVM_REG_SIZE_MASK, the logarithm of the size; more than KVM_REG_SIZE_U2048 is none.
  if (!head.Get(0, id)) return;
  const uint64_t size = id >> 52 & 15;
  if (size <= 8) pieces.Add(address, size_t{1} << size);
}

void AddBitmaps(Pieces& pieces, const Head& head, const Bitmap& bitmap) {
  for (size_t i = 0; i < bitmap.times; i++) {
    uint64_t address = 0;
    uint32_t bits = 0;
    if (!head.Get(bitmap.pointer_at + i * bitmap.stride, address)) return;
    if (!head.Get(bitmap.bits_at + i * bitmap.stride, bits) || bits == 0) continue;
    const uint64_t bytes = (uint64_t{bits} + 63) / 64 * 8;
    pieces.Add(address, std::min<uint64_t>(bytes, bitmap.most_bytes));
  }
}

void AddFollowed(Pieces& pieces, Buffer& message, const Shape& shape, const Head& head) {
  if (shape.follow == Follow::kBitmap) return AddBitmaps(pieces, head, shape.bitmap);
  uint64_t address = 0;
  uint32_t id = 0;
  if (!head.Get(shape.pointer_at, address)) return;
  switch (shape.follow) {
    case Follow::kPointer:
      return AddPointed(pieces, message, address, shape.pointed);
    case Follow::kTdxCommand:
      if (head.Get(0, id)) AddPointed(pieces, message, address, TdxCommandData(id));
      return;
    case Follow::kRegister:
      return AddRegister(pieces, head, address);
    default:
      return;
  }
}

}  // namespace

Pieces::Pieces(Buffer& message) : message_(message), count_at_(message.size()), whole_(message.Put<uint32_t>(0)) {}

bool Pieces::Head(uint64_t address, size_t length, bool readable) {
  whole_ = whole_ && message_.Put(address) && message_.Put(static_cast<uint32_t>(length)) &&
           message_.Put<uint32_t>(readable ? 1 : 0);
  if (whole_) count_++;
  return whole_;
}

size_t Pieces::Add(uint64_t address, size_t length) {
  const size_t start = message_.size();
  if (!Head(address, length, true)) return 0;
  uint8_t* const place = message_.Extend(length);
  if (place == nullptr) {
    whole_ = false;
    return 0;
  }
  const size_t read = ReadOwn(address, place, length);
  if (read == length) return read;
  message_.Shrink(read == 0 ? start : message_.size() - (length - read));
  if (read == 0) {
    count_--;
  } else {
    constexpr size_t kLengthAt = 8;
    message_.Patch(start + kLengthAt, static_cast<uint32_t>(read));
  }
  Head(address + read, length - read, false);
  return read;
}

bool Pieces::Finish() {
  if (whole_) message_.Patch(count_at_, count_);
  return whole_;
}

bool AddPieces(Buffer& message, const Shape& shape, uint64_t argument) {
  Pieces pieces(message);
  if (shape.length != 0) {
    Head head{};
    AddHead(pieces, message, argument, shape.length, head);
    AddTail(pieces, head, argument, shape.length, shape.tail);
    if (shape.follow != Follow::kNothing) AddFollowed(pieces, message, shape, head);
  }
  return pieces.Finish();
}

}  // namespace kvmtdx::preload
