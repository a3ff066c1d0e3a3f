#include "fake_kernel.hpp"

#include <sys/mman.h>

#include <cerrno>
#include <cstdlib>
#include <ctime>

namespace kvmtdx::test {
namespace {

FakeKernel* current = nullptr;

}  // namespace

FakeKernel& Kernel() { return *current; }

void FakeKernel::OnTdx(uint32_t id, std::function<sys::Result(abi::kvm_tdx_cmd&)> handler) {
  tdx_handlers_[id] = std::move(handler);
}

int FakeKernel::Count(unsigned long request) {
  const std::lock_guard lock(mutex);
  const auto found = counts_.find(request);
  return found == counts_.end() ? 0 : found->second;
}

int FakeKernel::NewFd(const std::string& what) {
  const std::lock_guard lock(mutex);
  open_descriptors++;
  descriptors_[next_fd_] = what;
  return next_fd_++;
}

sys::Result FakeKernel::Close(int fd) {
  const std::lock_guard lock(mutex);
  const auto found = descriptors_.find(fd);
  if (found == descriptors_.end()) std::abort();  // a descriptor that is not ours, or no longer
  open_descriptors--;
  closed.push_back(found->second);
  descriptors_.erase(found);
  return Ok();
}

sys::Result FakeKernel::Ioctl(int fd, unsigned long request, uint64_t argument) {
  {
    const std::lock_guard lock(mutex);
    counts_[request]++;
    if (!descriptors_.contains(fd)) std::abort();
  }
  if (request == abi::kMemoryEncryptOp) {
    auto& cmd = At<abi::kvm_tdx_cmd>(argument);
    if (cmd.hw_error != 0) return Fail(EINVAL);
    const auto found = tdx_handlers_.find(cmd.id);
    return found == tdx_handlers_.end() ? Fail(EINVAL) : found->second(cmd);
  }
  const auto found = handlers_.find(request);
  return found == handlers_.end() ? Fail(ENOTTY) : found->second(fd, argument);
}

WithKernel::WithKernel() {
  current = &kernel_;
  kernel_.On(abi::kGetVcpuMmapSize, [](int, uint64_t) { return Ok(kRunSize); });
  kernel_.On(abi::kCreateVm, [this](int, uint64_t) { return Ok(kernel_.NewFd("vm")); });
  kernel_.On(abi::kCreateVcpu, [this](int, uint64_t) { return Ok(kernel_.NewFd("vcpu")); });
  kernel_.On(abi::kCreateGuestMemfd, [this](int, uint64_t) { return Ok(kernel_.NewFd("memfd")); });
  kernel_.On(abi::kSetUserMemoryRegion, [](int, uint64_t) { return Ok(); });
  kernel_.On(abi::kSetUserMemoryRegion2, [](int, uint64_t) { return Ok(); });
}

WithKernel::~WithKernel() {
  // Every test leaves nothing behind.
  if (kernel_.open_descriptors != 0 || !kernel_.mapped.empty()) std::abort();
  current = nullptr;
}

}  // namespace kvmtdx::test

namespace kvmtdx::sys {

using test::Kernel;

Result Open(const char* path) {
  return std::string(path) == "/dev/kvm" ? Result{Kernel().NewFd("system"), 0} : Result{-1, ENOENT};
}
Result Close(int fd) { return Kernel().Close(fd); }
Result SetCloseOnExec(int /*fd*/) { return {0, 0}; }
Result Ioctl(int fd, unsigned long request, uint64_t argument) { return Kernel().Ioctl(fd, request, argument); }

namespace {

// The protection is real: a test that touches what it must not is killed.
Result Map(std::size_t size, int protection) {
  void* start = mmap(nullptr, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (start == MAP_FAILED) return {-1, errno};
  Kernel().mapped[reinterpret_cast<uint64_t>(start)] = size;
  return {reinterpret_cast<long>(start), 0};
}

}  // namespace

Result MapAnonymous(std::size_t size, bool accessible) {
  return Map(size, accessible ? PROT_READ | PROT_WRITE : PROT_NONE);
}

Result MapShared(int /*fd*/, std::size_t size) {
  const Result mapped = Map(size, PROT_READ | PROT_WRITE);
  Kernel().run = reinterpret_cast<abi::kvm_run*>(mapped.value);
  Kernel().run_pages = reinterpret_cast<std::byte*>(mapped.value);
  return mapped;
}

Result Unmap(void* start, std::size_t size) {
  if (Kernel().mapped.erase(reinterpret_cast<uint64_t>(start)) != 1) std::abort();
  munmap(start, size);
  return {0, 0};
}

Result Discard(void* start, std::size_t size) {
  madvise(start, size, MADV_DONTNEED);
  return {0, 0};
}

Result PunchHole(int /*fd*/, uint64_t /*offset*/, uint64_t /*length*/) { return {0, 0}; }

void Pause(unsigned /*attempt*/) {}

}  // namespace kvmtdx::sys
