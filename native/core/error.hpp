// What can go wrong, as values that the layer above turns into its language's errors.
#pragma once

#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <utility>

namespace kvmtdx {

/** The kernel refused. */
struct SysError : std::exception {
  SysError(int error_number, const char* system_call, const char* request_name)
      : error(error_number), syscall(system_call), request(request_name) {}

  const char* what() const noexcept override { return request; }

  int error;
  const char* syscall;
  /** Name of the request, a literal. */
  const char* request;
  /** kvm_tdx_cmd.hw_error after the call; 0 where the kernel did not say. */
  uint64_t hw_error = 0;
  std::optional<uint64_t> pages_done;
  std::string path;
};

/** The object is in no state for this. */
struct StateError : std::exception {
  enum class Kind { kClosed, kRunning, kDuplicateVcpu, kForeignObject };

  StateError(Kind error_kind, std::string text) : kind(error_kind), message(std::move(text)) {}
  const char* what() const noexcept override { return message.c_str(); }

  Kind kind;
  std::string message;
};

/** The caller's value is wrong; no system call was made. */
struct ArgumentError : std::exception {
  enum class Kind { kType, kRange };

  ArgumentError(Kind error_kind, std::string text) : kind(error_kind), message(std::move(text)) {}
  const char* what() const noexcept override { return message.c_str(); }

  Kind kind;
  std::string message;
};

[[noreturn]] inline void ThrowType(std::string message) {
  throw ArgumentError(ArgumentError::Kind::kType, std::move(message));
}
[[noreturn]] inline void ThrowRange(std::string message) {
  throw ArgumentError(ArgumentError::Kind::kRange, std::move(message));
}
[[noreturn]] inline void ThrowClosed(const char* what) {
  throw StateError(StateError::Kind::kClosed, std::string(what) + " is closed");
}

}  // namespace kvmtdx
