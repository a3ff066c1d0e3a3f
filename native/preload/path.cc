#include "path.hpp"

#include <fcntl.h>

#include <climits>
#include <cstdint>
#include <cstring>

#include "raw.hpp"

namespace kvmtdx::preload {
namespace {

/** Nothing is mapped below (vm.mmap_min_addr): a bad pointer is the kernel's to refuse. */
constexpr uintptr_t kLowest = 4096;

/** The folder's own path, without a zero at its end; 0: there is none. */
size_t FolderPath(int folder, char* path, size_t size) {
  char link[32] = "/proc/self/cwd";
  if (folder != AT_FDCWD) {
    if (folder < 0) return 0;
    constexpr char kFds[] = "/proc/self/fd/";
    std::memcpy(link, kFds, sizeof kFds);
    char digits[12];
    size_t count = 0;
    for (auto rest = static_cast<unsigned>(folder); count == 0 || rest != 0; rest /= 10) {
      digits[count++] = static_cast<char>('0' + rest % 10);
    }
    for (size_t i = 0; i < count; i++) link[sizeof kFds - 1 + i] = digits[count - 1 - i];
    link[sizeof kFds - 1 + count] = '\0';
  }
  const long length = Raw(SYS_readlinkat, AT_FDCWD, link, path, size);
  return length > 0 ? static_cast<size_t>(length) : 0;
}

/** Takes "", "." and ".." out of a path, in place. Returns its new length. */
size_t Normalize(char* path, size_t length) {
  size_t end = 0;  // of what is kept: each part with the slash before it
  for (size_t at = 0; at < length;) {
    while (at < length && path[at] == '/') at++;
    size_t part = 0;
    while (at + part < length && path[at + part] != '/') part++;
    if (part == 2 && path[at] == '.' && path[at + 1] == '.') {
      while (end > 0 && path[--end] != '/') {
      }
    } else if (part > 0 && !(part == 1 && path[at] == '.')) {
      path[end++] = '/';
      std::memmove(path + end, path + at, part);
      end += part;
    }
    at += part;
  }
  return end;
}

}  // namespace

bool IsDevKvm(int folder, const char* path) {
  if (reinterpret_cast<uintptr_t>(path) < kLowest) return false;
  const size_t length = strlen(path);
  // Almost every path ends here.
  if (length < 3 || std::memcmp(path + length - 3, "kvm", 3) != 0) return false;
  constexpr char kDevKvm[] = "/dev/kvm";
  constexpr size_t kLength = sizeof kDevKvm - 1;
  if (length == kLength && std::memcmp(path, kDevKvm, kLength) == 0) return true;
  char whole[2 * PATH_MAX];
  size_t used = 0;
  if (path[0] != '/') {
    used = FolderPath(folder, whole, PATH_MAX);
    if (used == 0) return false;
    whole[used++] = '/';
  }
  if (length >= PATH_MAX) return false;
  std::memcpy(whole + used, path, length);
  const size_t normal = Normalize(whole, used + length);
  return normal == kLength && std::memcmp(whole, kDevKvm, kLength) == 0;
}

}  // namespace kvmtdx::preload
