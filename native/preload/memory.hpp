// The program's own memory, read and written as the kernel would: a bad address is a short count, never a fault.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kvmtdx::preload {

/** Copies from `address` up to the first byte that cannot be read. Returns how many bytes were. */
size_t ReadOwn(uint64_t address, void* into, size_t length);

/** false: some byte of the range cannot be written; those before it may have been. */
bool WriteOwn(uint64_t address, const void* from, size_t length);

}  // namespace kvmtdx::preload
