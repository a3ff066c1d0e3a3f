// System calls on the model's objects. Each returns what the kernel would, -errno included.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace kvmtdx::preload {

/** open("/dev/kvm"): a descriptor. */
long OpenKvm(bool close_on_exec);

long Ioctl(int descriptor, uint64_t object, uint32_t request, uint64_t argument);

long Fallocate(uint64_t object, int mode, int64_t offset, int64_t length);

/** The page that a vCPU shares with its program. */
long Map(uint64_t object, void* address, size_t length, int protection, int flags, int64_t offset);

}  // namespace kvmtdx::preload
