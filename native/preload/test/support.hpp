// What the tests of native/preload share.
#pragma once

#include <sys/mman.h>

#include <cstdint>
#include <cstring>
#include <vector>

#include "../pieces.hpp"
#include "../wire.hpp"

namespace kvmtdx::test {

inline constexpr size_t kPage = 4096;

/** Pages, of which those after the first `readable` cannot be touched. */
class Pages {
 public:
  explicit Pages(size_t readable, size_t barred = 1) : size_((readable + barred) * kPage) {
    start_ = static_cast<uint8_t*>(mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(start_ + readable * kPage, barred * kPage, PROT_NONE);
  }
  ~Pages() { munmap(start_, size_); }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;

  uint8_t* start() const { return start_; }
  /** `length` bytes that end where the first barred page starts. */
  uint8_t* Last(size_t length, size_t readable = 1) const { return start_ + readable * kPage - length; }

 private:
  size_t size_;
  uint8_t* start_;
};

struct Piece {
  uint64_t address;
  uint32_t length;
  bool readable;
  std::vector<uint8_t> bytes;
};

inline uint64_t AddressOf(const void* place) { return reinterpret_cast<uint64_t>(place); }

template <typename T>
void Store(void* place, T value) {
  std::memcpy(place, &value, sizeof value);
}

/** The pieces that go with a request. */
inline std::vector<Piece> PiecesOf(uint32_t request, uint64_t argument) {
  preload::Buffer message{};
  std::vector<Piece> pieces;
  if (preload::AddPieces(message, preload::ShapeOf(request), argument)) {
    preload::Reader reader(message.data(), message.size());
    const auto count = reader.Take<uint32_t>();
    for (uint32_t i = 0; i < count; i++) {
      Piece piece{};
      piece.address = reader.Take<uint64_t>();
      piece.length = reader.Take<uint32_t>();
      piece.readable = reader.Take<uint32_t>() != 0;
      if (piece.readable) {
        const uint8_t* const bytes = reader.Bytes(piece.length);
        if (bytes != nullptr) piece.bytes.assign(bytes, bytes + piece.length);
      }
      pieces.push_back(piece);
    }
    if (!reader.ok() || !reader.at_end()) pieces.clear();
  }
  message.Release();
  return pieces;
}

}  // namespace kvmtdx::test
