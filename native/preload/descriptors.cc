#include "descriptors.hpp"

#include <atomic>

namespace kvmtdx::preload {
namespace {

/** Numbers above have no place here: they work, but poll() and KVM_SET_SIGNAL_MASK do not see them. */
constexpr unsigned kMost = 1 << 16;

struct Slot {
  std::atomic<bool> known;
  std::atomic<bool> has_mask;
  /** Whose mask it is: the number may have been given to another since. */
  std::atomic<uint64_t> object;
  std::atomic<uint64_t> blocked;
};

// Zeroed, so that only the pages in use take memory.
constinit Slot slots[kMost];
constinit std::atomic<int> known_count;

Slot* At(int descriptor) { return static_cast<unsigned>(descriptor) < kMost ? &slots[descriptor] : nullptr; }

}  // namespace

void Remember(int descriptor) {
  Slot* const slot = At(descriptor);
  if (slot != nullptr && !slot->known.exchange(true)) known_count++;
}

void Forget(int descriptor) {
  Slot* const slot = At(descriptor);
  if (slot == nullptr || !slot->known.load(std::memory_order_relaxed)) return;
  slot->has_mask = false;
  if (slot->known.exchange(false)) known_count--;
}

void Copied(int from, int to) {
  if (from == to) return;
  Forget(to);
  const Slot* const source = At(from);
  Slot* const target = At(to);
  if (source == nullptr || target == nullptr || !source->known.load(std::memory_order_relaxed)) return;
  target->object = source->object.load();
  target->blocked = source->blocked.load();
  target->has_mask = source->has_mask.load();
  Remember(to);
}

bool Known(int descriptor) {
  const Slot* const slot = At(descriptor);
  return slot != nullptr && slot->known.load(std::memory_order_relaxed);
}

bool AnyKnown() { return known_count.load(std::memory_order_relaxed) != 0; }

void SetSignalMask(int descriptor, uint64_t object, SignalMask mask) {
  Slot* const slot = At(descriptor);
  if (slot == nullptr) return;
  slot->object = object;
  slot->blocked = mask.blocked;
  slot->has_mask = mask.set;
}

SignalMask SignalMaskOf(int descriptor, uint64_t object) {
  const Slot* const slot = At(descriptor);
  if (slot == nullptr || !slot->has_mask || slot->object != object) return {};
  return {true, slot->blocked};
}

}  // namespace kvmtdx::preload
