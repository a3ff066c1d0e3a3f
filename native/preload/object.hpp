// Object connections: what the program holds as its KVM descriptors.
#pragma once

#include <cstdint>

namespace kvmtdx::preload {

/** The id of the model's object behind a descriptor; 0: it is none of ours, or not open. Asks the kernel, keeps
 * nothing. */
uint64_t ObjectOf(int descriptor);

/** The id as it is in names: 16 lower-case hexadecimal digits, no zero at the end. */
void FormatId(uint64_t id, char* digits);

/** A random id, never 0. */
uint64_t NewObjectId();

/** A descriptor for an object, not yet connected; -errno. */
int ReserveObject(uint64_t id, bool close_on_exec);

/**
 * Connects it: opens /dev/kvm (`adopts` false), or takes over what a request has just made under the id.
 * @returns 0 or -errno; the descriptor stays the caller's.
 */
int ConnectObject(int descriptor, uint64_t id, bool adopts);

}  // namespace kvmtdx::preload
