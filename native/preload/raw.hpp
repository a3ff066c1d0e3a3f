// System calls without libc: no errno, no cancellation point, none of the functions that this library takes over.
// Each returns what the kernel returns, -errno included.
#pragma once

#include <sys/syscall.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace kvmtdx::preload {

template <typename T>
long Argument(T value) {
  if constexpr (std::is_pointer_v<T>) {
    return reinterpret_cast<long>(value);
  } else {
    return static_cast<long>(value);
  }
}

inline long Raw6(long number, long a, long b, long c, long d, long e, long f) {
  long result = number;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  __asm__ volatile("syscall"
                   : "+a"(result)
                   : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}

template <typename A = long, typename B = long, typename C = long, typename D = long, typename E = long,
          typename F = long>
long Raw(long number, A a = 0, B b = 0, C c = 0, D d = 0, E e = 0, F f = 0) {
  return Raw6(number, Argument(a), Argument(b), Argument(c), Argument(d), Argument(e), Argument(f));
}

/** An errno, as mmap returns one. */
inline bool IsError(long result) { return result < 0 && result >= -4095; }

inline void RawClose(int descriptor) { Raw(SYS_close, descriptor); }

inline constexpr size_t kPageSize = 4096;

/** Repeats a call that a signal cut short. */
template <typename Call>
long Again(Call call) {
  for (;;) {
    const long result = call();
    if (result != -4 /* EINTR */) return result;
  }
}

}  // namespace kvmtdx::preload
