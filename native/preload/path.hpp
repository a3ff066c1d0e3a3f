// Which paths are /dev/kvm.
#pragma once

namespace kvmtdx::preload {

/** As openat() takes them. By name only: symbolic links are not followed. */
bool IsDevKvm(int folder, const char* path);

}  // namespace kvmtdx::preload
