// Descriptors and mappings with exactly one owner.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

namespace kvmtdx {

/** A file descriptor, closed with its owner. */
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  ~UniqueFd() { Reset(); }
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) {
      Reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  void Reset() noexcept;

 private:
  int fd_ = -1;
};

/** A range of this process's addresses, unmapped with its owner. */
class Mapping {
 public:
  Mapping() = default;
  ~Mapping() { Reset(); }
  Mapping(Mapping&& other) noexcept
      : start_(std::exchange(other.start_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept {
    if (this != &other) {
      Reset();
      start_ = std::exchange(other.start_, nullptr);
      size_ = std::exchange(other.size_, 0);
    }
    return *this;
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  /** Zeroed memory of our own. @throws SysError ENOMEM. */
  static Mapping Anonymous(std::size_t size);
  /** Addresses that nothing else can take and nobody can touch. @throws SysError ENOMEM. */
  static Mapping Reserved(std::size_t size);
  /** The first `size` bytes of `fd`, shared. `what` names it in the error. */
  static Mapping Shared(int fd, std::size_t size, const char* what);

  std::byte* start() const { return start_; }
  std::size_t size() const { return size_; }
  uint64_t address() const { return reinterpret_cast<uint64_t>(start_); }
  bool valid() const { return start_ != nullptr; }
  /** Whether `length` bytes from `offset` are inside; no overflow for any values. */
  bool Contains(uint64_t offset, uint64_t length) const { return offset <= size_ && length <= size_ - offset; }
  void Reset() noexcept;

 private:
  Mapping(std::byte* start, std::size_t size) : start_(start), size_(size) {}

  std::byte* start_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace kvmtdx
