// Memory that guests use: ours, which a slot shares with them, and guest_memfd, which we cannot touch.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "owned.hpp"

namespace kvmtdx {

class System;
class Vm;

/**
 * Zeroed memory of this process. Closing it ends our use; the pages live on while a memory slot refers to them, for a
 * guest must never reach addresses that have become somebody else's.
 */
class GuestMemory {
 public:
  /** @throws ArgumentError for a size that is no positive multiple of 4096, SysError ENOMEM. */
  GuestMemory(std::shared_ptr<System> system, uint64_t size);

  const System* system() const { return system_.get(); }
  uint64_t size() const { return size_; }
  bool closed() const { return mapping_ == nullptr; }
  /** Whether a memory slot refers to the pages. */
  bool shared() const { return mapping_.use_count() > 1; }
  void Close() noexcept { mapping_.reset(); }

  /** The pages, to be kept as long as the kernel may use them. @throws StateError. */
  const std::shared_ptr<const Mapping>& mapping() const;

  /** Copies from `offset` on. The guest may write meanwhile: the bytes are then any mixture. @throws ArgumentError. */
  void Read(uint64_t offset, std::span<std::byte> into) const;
  void Write(uint64_t offset, std::span<const std::byte> bytes);
  void Discard(uint64_t offset, uint64_t length);

 private:
  const Mapping& Checked(uint64_t offset, uint64_t length) const;

  std::shared_ptr<System> system_;
  std::shared_ptr<const Mapping> mapping_;
  uint64_t size_;
};

/** KVM_CREATE_GUEST_MEMFD. */
class GuestMemfd {
 public:
  GuestMemfd(std::shared_ptr<Vm> vm, UniqueFd fd, uint64_t size);

  const Vm* vm() const { return vm_.get(); }
  uint64_t size() const { return size_; }
  bool closed() const { return !fd_.valid(); }
  void Close() noexcept { fd_.Reset(); }

  /** @throws StateError. */
  int fd() const;
  /** @throws SysError of fallocate. */
  void PunchHole(uint64_t offset, uint64_t length) const;

 private:
  std::shared_ptr<Vm> vm_;
  UniqueFd fd_;
  uint64_t size_;
};

}  // namespace kvmtdx
