#include "request.hpp"

#include <cerrno>

#include "abi_tdx.hpp"
#include "error.hpp"
#include "sys.hpp"

namespace kvmtdx {
namespace {

bool Again(const sys::Result& result, const Request& request, int attempt) {
  return result.error == EINTR && request.on_eintr == OnEintr::kRetry && attempt < kEintrRetries;
}

}  // namespace

long IssueAgain(int fd, const Request& request, uint64_t argument, sys::Result refused) {
  for (int attempt = 0; Again(refused, request, attempt); attempt++) {
    refused = sys::Ioctl(fd, request.number, argument);
    if (refused.ok()) return refused.value;
  }
  throw SysError(refused.error, "ioctl", request.name);
}

void Issue(int fd, const TdxCommand& command) {
  for (int attempt = 0;; attempt++) {
    // The kernel writes into this struct and, for some sub-commands, into what `data` points to; both outlive the call.
    abi::kvm_tdx_cmd cmd{.id = command.id, .flags = command.flags, .data = command.data, .hw_error = 0};
    const sys::Result result = sys::Ioctl(fd, command.request.number, reinterpret_cast<uint64_t>(&cmd));
    if (result.ok()) return;
    if (Again(result, command.request, attempt)) continue;
    SysError refused(result.error, "ioctl", command.request.name);
    refused.hw_error = cmd.hw_error;
    throw refused;
  }
}

}  // namespace kvmtdx
