// A kernel that does what a test says, behind the functions of core/sys.hpp. So the ways of a TDX kernel that no
// machine of ours has can be tested: its growing answers, its half-done requests, its exits.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "../core/abi_run.hpp"
#include "../core/abi_tdx.hpp"
#include "../core/sys.hpp"

namespace kvmtdx::test {

inline sys::Result Ok(long value = 0) { return {value, 0}; }
inline sys::Result Fail(int error) { return {-1, error}; }

class FakeKernel {
 public:
  using Handler = std::function<sys::Result(int fd, uint64_t argument)>;

  /** Answers a request; without a handler it gets ENOTTY. */
  void On(unsigned long request, Handler handler) { handlers_[request] = std::move(handler); }
  /** Answers a sub-command of KVM_MEMORY_ENCRYPT_OP. */
  void OnTdx(uint32_t id, std::function<sys::Result(abi::kvm_tdx_cmd&)> handler);

  /** How often a request came. */
  int Count(unsigned long request);
  /** Descriptors in the order in which they were closed, by what they are: "system", "vm", "vcpu", "memfd". */
  std::vector<std::string> closed;
  int open_descriptors = 0;
  /** Addresses in use now, with their sizes. */
  std::map<uint64_t, std::size_t> mapped;
  /** What the vCPU shares. */
  abi::kvm_run* run = nullptr;
  std::byte* run_pages = nullptr;

  int NewFd(const std::string& what);
  sys::Result Ioctl(int fd, unsigned long request, uint64_t argument);
  sys::Result Close(int fd);
  std::mutex mutex;

 private:
  std::map<unsigned long, Handler> handlers_;
  std::map<uint32_t, std::function<sys::Result(abi::kvm_tdx_cmd&)>> tdx_handlers_;
  std::map<unsigned long, int> counts_;
  std::map<int, std::string> descriptors_;
  int next_fd_ = 1000;
};

/** Of the running test. */
FakeKernel& Kernel();

/** A fresh kernel that creates systems, VMs, vCPUs and guest_memfds. */
class WithKernel {
 public:
  WithKernel();
  ~WithKernel();
  WithKernel(const WithKernel&) = delete;
  WithKernel& operator=(const WithKernel&) = delete;
  FakeKernel* operator->() { return &kernel_; }

 private:
  FakeKernel kernel_;
};

inline constexpr std::size_t kRunSize = 3 * abi::kPageSize;

template <typename T>
T& At(uint64_t address) {
  return *reinterpret_cast<T*>(address);
}

}  // namespace kvmtdx::test
