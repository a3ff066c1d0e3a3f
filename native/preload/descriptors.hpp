// What is remembered of descriptor numbers. Only hints: a descriptor is one of ours if ObjectOf says so.
#pragma once

#include <cstdint>

namespace kvmtdx::preload {

/** A KVM descriptor was seen under this number. */
void Remember(int descriptor);
/** The number is, or is about to be, something else. */
void Forget(int descriptor);
/** `to` is now a copy of `from`. */
void Copied(int from, int to);
bool Known(int descriptor);
/** Some descriptor is known. */
bool AnyKnown();

/** KVM_SET_SIGNAL_MASK of a vCPU: bit n - 1 is signal n. */
struct SignalMask {
  bool set;
  uint64_t blocked;
};

/** Of the vCPU `object`, whose descriptor this is. */
void SetSignalMask(int descriptor, uint64_t object, SignalMask mask);
SignalMask SignalMaskOf(int descriptor, uint64_t object);

}  // namespace kvmtdx::preload
