// KVM_RUN on the vCPU's thread: exits, replies, answered ports, interruption.
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <random>
#include <thread>

#include "../core/error.hpp"
#include "../core/system.hpp"
#include "../core/vcpu.hpp"
#include "check.hpp"
#include "fake_kernel.hpp"

namespace kvmtdx::test {
namespace {

/** A vCPU whose KVM_RUN is the test's. */
class Machine {
 public:
  Machine() : vcpu(System::Open("/dev/kvm")->CreateVm(5)->CreateVcpu(0, [this] { done_.Post(); })) {}
  ~Machine() { vcpu->Close(); }
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  void OnRun(std::function<sys::Result(abi::kvm_run&)> handler) {
    kernel->On(abi::kRun, [this, handler = std::move(handler)](int, uint64_t) { return handler(*kernel->run); });
  }
  std::optional<Vcpu::Finished> Finish() {
    done_.Wait();
    return vcpu->FinishRun();
  }
  std::optional<Vcpu::Finished> Run(const Reply& reply = {}, std::vector<PortRange> ports = {}) {
    vcpu->Run(reply, std::move(ports));
    return Finish();
  }
  template <typename T>
  T Exit(const Reply& reply = {}) {
    const auto finished = Run(reply);
    CHECK(finished && finished->exit && std::holds_alternative<T>(*finished->exit));
    return std::get<T>(*finished->exit);
  }

  WithKernel kernel;

 private:
  Semaphore done_;

 public:
  std::shared_ptr<Vcpu> vcpu;
};

/** As KVM: both immediate_exit and a signal end it. */
sys::Result RunForever(abi::kvm_run& run) {
  while (std::atomic_ref(run.immediate_exit).load() == 0) {
    if (poll(nullptr, 0, 1) == -1) return Fail(errno);
  }
  return Fail(EINTR);
}

sys::Result PortExit(abi::kvm_run& run, uint8_t direction, uint16_t port, uint8_t size, uint32_t count) {
  run.exit_reason = abi::kExitIo;
  run.io = {direction, size, port, count, abi::kPageSize};
  return Ok();
}

TEST("Every exit is decoded") {
  Machine machine;
  machine.OnRun([](abi::kvm_run& run) {
    run.exit_reason = abi::kExitHypercall;
    run.hypercall = {12, {0x1000, 16, 1, 4, 5, 6}, 0, 1};
    return Ok();
  });
  const auto call = machine.Exit<HypercallExit>();
  CHECK(call.nr == 12 && call.args[1] == 16 && call.args[5] == 6 && call.flags == 1);

  machine.OnRun([](abi::kvm_run& run) {
    run.exit_reason = abi::kExitSystemEvent;
    run.system_event = {7, 16, {}};
    run.system_event.data[12] = 0xdead;
    return Ok();
  });
  const auto event = machine.Exit<SystemEventExit>();
  CHECK(event.type == 7 && event.data.size() == 16 && event.data[12] == 0xdead);

  machine.OnRun([](abi::kvm_run& run) {
    run.exit_reason = abi::kExitInternalError;
    run.internal = {1, 2, {3, 4}};
    return Ok();
  });
  CHECK(machine.Exit<InternalErrorExit>().data == std::vector<uint64_t>({3, 4}));

  machine.OnRun([](abi::kvm_run& run) {
    run.exit_reason = abi::kExitFailEntry;
    run.fail_entry = {0x80000021, 3};
    return Ok();
  });
  const auto entry = machine.Exit<FailEntryExit>();
  CHECK(entry.hardware_entry_failure_reason == 0x80000021 && entry.cpu == 3);

  machine.OnRun([](abi::kvm_run& run) {
    run.exit_reason = abi::kExitTdx;
    run.tdx.nr = abi::kTdvmcallGetQuote;
    run.tdx.flags = 0;
    run.tdx.get_quote = {1, 0x2000, 0x1000};
    return Ok();
  });
  const auto quote = machine.Exit<TdxExit>();
  CHECK(quote.nr == 0x10002 && quote.first == 0x2000 && quote.second == 0x1000);

  for (const auto& [reason, index] : {std::pair<uint32_t, size_t>{abi::kExitHlt, 2}, {abi::kExitShutdown, 3}}) {
    machine.OnRun([reason = reason](abi::kvm_run& run) {
      run.exit_reason = reason;
      return Ok();
    });
    CHECK(machine.Run()->exit->index() == index);
  }

  machine.OnRun([](abi::kvm_run& run) {
    run.exit_reason = 35;
    return Ok();
  });
  CHECK(machine.Exit<UnknownExit>().exit_reason == 35);
}

TEST("EFAULT and EHWPOISON with KVM_EXIT_MEMORY_FAULT are exits, without it they are errors") {
  Machine machine;
  for (const int error : {EFAULT, EHWPOISON}) {
    machine.OnRun([error](abi::kvm_run& run) {
      run.exit_reason = abi::kExitMemoryFault;
      run.memory_fault = {8, 0x1000, 0x1000};
      return Fail(error);
    });
    const auto fault = machine.Exit<MemoryFaultExit>();
    CHECK(fault.flags == 8 && fault.gpa == 0x1000 && fault.size == 0x1000);

    machine.OnRun([error](abi::kvm_run&) { return Fail(error); });  // the last exit_reason must not count again
    const auto finished = machine.Run();
    CHECK(!finished->exit && finished->outcome.kind == RunOutcome::Kind::kFailed && finished->outcome.error == error);
  }
}

TEST("EAGAIN, a vCPU that has got its start-up IPI, runs on") {
  Machine machine;
  int tries = 0;
  machine.OnRun([&](abi::kvm_run& run) {
    run.exit_reason = abi::kExitHlt;
    return tries++ < 5 ? Fail(EAGAIN) : Ok();
  });
  machine.Exit<HltExit>();
  CHECK(tries == 6);
}

TEST("An access to an MSR is an exit; its reply is a value or a #GP, without one it is a #GP") {
  Machine machine;
  const auto access = [](uint32_t exit_reason) {
    return [exit_reason](abi::kvm_run& run) {
      run.exit_reason = exit_reason;
      run.msr = {0, {}, 4, 0x1b, 0xabcd};
      return Ok();
    };
  };
  machine.OnRun(access(abi::kExitX86Wrmsr));
  const auto write = machine.Exit<MsrExit>();
  CHECK(write.write && write.reason == 4 && write.index == 0x1b && write.data == 0xabcd);
  CHECK(machine.kernel->run->msr.error == 1);

  machine.OnRun(access(abi::kExitX86Rdmsr));
  Reply reply;
  reply.msr = {.error = false, .data = 0x1234};
  const auto read = machine.Exit<MsrExit>(reply);
  CHECK(!read.write && read.data == 0);
  machine.OnRun([](abi::kvm_run& run) {
    CHECK(run.msr.error == 0 && run.msr.data == 0x1234);
    run.exit_reason = abi::kExitHlt;
    return Ok();
  });
  machine.Exit<HltExit>(reply);
  CHECK(THROWN(ArgumentError, machine.vcpu->Run(reply, {})).kind == ArgumentError::Kind::kType);
}

TEST("A run that is not to enter the guest has immediate_exit set, the one after it has not") {
  Machine machine;
  machine.OnRun([](abi::kvm_run& run) {
    CHECK(run.immediate_exit == 1);
    return Fail(EINTR);
  });
  machine.vcpu->Run({}, {}, Enter::kNot);
  const auto finished = machine.Finish();
  CHECK(finished->exit && std::holds_alternative<IntrExit>(*finished->exit));
  machine.OnRun([](abi::kvm_run& run) {
    CHECK(run.immediate_exit == 0);
    run.exit_reason = abi::kExitHlt;
    return Ok();
  });
  machine.Exit<HltExit>();
}

TEST("A foreign signal is an exit of its own") {
  Machine machine;
  machine.OnRun([](abi::kvm_run&) { return Fail(EINTR); });
  machine.Exit<IntrExit>();
}

TEST("A run that is interrupted ends as such, again and again, and the next one runs") {
  Machine machine;
  for (int i = 0; i < 50; i++) {
    machine.OnRun(RunForever);
    machine.vcpu->Run({}, {});
    CHECK(machine.vcpu->running());
    machine.vcpu->Interrupt();
    const auto finished = machine.Finish();
    CHECK(finished->outcome.kind == RunOutcome::Kind::kInterrupted && !finished->exit);
    machine.OnRun([](abi::kvm_run& run) {
      CHECK(run.immediate_exit == 0);
      run.exit_reason = abi::kExitHlt;
      return Ok();
    });
    machine.Exit<HltExit>();
  }
}

TEST("A kick that was meant for the last run does not end the next one") {
  Machine machine;
  machine.OnRun([](abi::kvm_run& run) {
    run.exit_reason = abi::kExitHlt;
    return Ok();
  });
  machine.vcpu->Run({}, {});
  while (machine.kernel->Count(abi::kRun) == 0) {
  }
  machine.vcpu->Interrupt();
  machine.Finish();
  int tries = 0;
  machine.OnRun([&](abi::kvm_run& run) {
    run.exit_reason = abi::kExitHlt;
    return tries++ == 0 ? Fail(EINTR) : Ok();
  });
  machine.Exit<HltExit>();
  CHECK(tries == 2);
}

TEST("While a vCPU runs, other requests are refused") {
  Machine machine;
  machine.OnRun(RunForever);
  machine.vcpu->Run({}, {});
  CHECK(THROWN(StateError, machine.vcpu->GetRegs()).kind == StateError::Kind::kRunning);
  CHECK(THROWN(StateError, machine.vcpu->Run({}, {})).kind == StateError::Kind::kRunning);
  CHECK(THROWN(StateError, machine.vcpu->InitTdx(0)).kind == StateError::Kind::kRunning);
  machine.vcpu->Close();
  CHECK(!machine.Finish());
  CHECK(!machine.vcpu->running());
}

TEST("Closing works although the signal is lost a few times") {
  Machine machine;
  std::atomic<int> ignored = 3;
  machine.OnRun([&](abi::kvm_run&) {
    while (ignored-- > 0) poll(nullptr, 0, -1);
    return Fail(EINTR);
  });
  machine.vcpu->Run({}, {});
  machine.vcpu->Close();
  CHECK(ignored < 0);
}

TEST("A run that is started and closed while the last report is still under way is reported as well") {
  WithKernel kernel;
  Semaphore heard;
  Semaphore may_return;
  std::atomic<int> reports = 0;
  const auto vcpu = System::Open("/dev/kvm")->CreateVm(5)->CreateVcpu(0, [&] {
    heard.Post();
    if (reports++ == 0) may_return.Wait();
  });
  kernel->On(abi::kRun, [&](int, uint64_t) { return RunForever(*kernel->run); });
  vcpu->Run({}, {});
  vcpu->Interrupt();
  heard.Wait();
  CHECK(vcpu->FinishRun());
  vcpu->Run({}, {});
  std::thread later([&] {
    poll(nullptr, 0, 30);  // until Close, below, waits for the vCPU's thread
    may_return.Post();
  });
  vcpu->Close();
  later.join();
  CHECK(reports == 2);
  CHECK(!vcpu->FinishRun());
}

TEST("Reads that nobody answers give 0xff") {
  Machine machine;
  machine.OnRun([](abi::kvm_run& run) { return PortExit(run, abi::kIoIn, 0x50, 2, 3); });
  machine.Exit<IoExit>();
  const auto* data = reinterpret_cast<const uint8_t*>(machine.kernel->run_pages) + abi::kPageSize;
  CHECK(std::all_of(data, data + 6, [](uint8_t byte) { return byte == 0xff; }));

  machine.OnRun([](abi::kvm_run& run) {
    run.exit_reason = abi::kExitMmio;
    run.mmio = {0xf0000, {1, 2, 3, 4}, 4, 0};
    return Ok();
  });
  CHECK(machine.Exit<MmioExit>().data == Bytes(4));
  CHECK(machine.kernel->run->mmio.data[3] == 0xff && machine.kernel->run->mmio.data[4] == 0);
}

TEST("A reply must be one that the exit takes") {
  Machine machine;
  const Bytes six(6, 0x5a);
  const Reply data{.data = six, .ret = {}, .tdvmcall_info = {}};
  const Reply ret{.data = {}, .ret = 5, .tdvmcall_info = {}};
  const Reply info{.data = {}, .ret = 0, .tdvmcall_info = {{11, 12, 13, 14}}};
  CHECK(THROWN(ArgumentError, machine.vcpu->Run(data, {})).kind == ArgumentError::Kind::kType);
  CHECK(THROWN(ArgumentError, machine.vcpu->Run(ret, {})).kind == ArgumentError::Kind::kType);
  CHECK(THROWN(ArgumentError, machine.vcpu->Run(info, {})).kind == ArgumentError::Kind::kType);

  machine.OnRun([](abi::kvm_run& run) { return PortExit(run, abi::kIoIn, 0x50, 2, 2); });
  machine.Exit<IoExit>();
  CHECK(THROWN(ArgumentError, machine.vcpu->Run(data, {})).kind == ArgumentError::Kind::kRange);
  CHECK(THROWN(ArgumentError, machine.vcpu->Run(ret, {})).kind == ArgumentError::Kind::kType);

  Bytes seen;
  machine.OnRun([&](abi::kvm_run& run) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(&run) + abi::kPageSize;
    seen.assign(bytes, bytes + 4);
    run.exit_reason = abi::kExitHypercall;
    run.hypercall = {};
    return Ok();
  });
  const Bytes four{1, 2, 3, 4};
  machine.Exit<HypercallExit>({.data = four, .ret = {}, .tdvmcall_info = {}});
  CHECK(seen == four);

  machine.OnRun([](abi::kvm_run& run) {
    CHECK(run.hypercall.ret == 5);
    run.exit_reason = abi::kExitTdx;
    run.tdx.nr = abi::kTdvmcallGetTdVmCallInfo;
    run.tdx.get_tdvmcall_info = {};
    return Ok();
  });
  machine.Exit<TdxExit>(ret);
  machine.OnRun([](abi::kvm_run& run) {
    const auto& answer = run.tdx.get_tdvmcall_info;
    CHECK(answer.ret == 0 && answer.r11 == 11 && answer.r12 == 12 && answer.r13 == 13 && answer.r14 == 14);
    run.exit_reason = abi::kExitHlt;
    return Ok();
  });
  machine.Exit<HltExit>(info);
}

TEST("Answered ports stay on the vCPU's thread; their bytes are gathered in order") {
  Machine machine;
  int step = 0;
  machine.OnRun([&](abi::kvm_run& run) {
    auto* data = reinterpret_cast<uint8_t*>(&run) + abi::kPageSize;
    switch (step++) {
      case 0:
        std::memcpy(data, "he", 2);
        return PortExit(run, abi::kIoOut, 0x3f8, 1, 2);
      case 1:
        std::memcpy(data, "y", 1);
        return PortExit(run, abi::kIoOut, 0x3f9, 1, 1);
      case 2:
        return PortExit(run, abi::kIoIn, 0x3fd, 1, 1);
      case 3:
        CHECK(data[0] == 0x60);
        return PortExit(run, abi::kIoOut, 0x80, 1, 1);
      default:
        return PortExit(run, abi::kIoOut, 0x81, 1, 1);
    }
  });
  const std::vector<PortRange> ports{{0x3f8, 0x3fc, 0xff, true}, {0x3fd, 0x3fd, 0x60, false}, {0x80, 0x80, 0, false}};
  const auto finished = machine.Run({}, ports);
  CHECK(std::get<IoExit>(*finished->exit).port == 0x81);
  CHECK(machine.vcpu->TakePortOutput() == Bytes({'h', 'e', 'y'}));
  CHECK(machine.vcpu->TakePortOutput().empty());
}

TEST("A guest that writes without end fills one MiB, then its exits come to the owner, and no byte is lost") {
  Machine machine;
  uint64_t written = 0;
  machine.OnRun([&](abi::kvm_run& run) {
    written += 4096;
    return PortExit(run, abi::kIoOut, 0x3f8, 4, 1024);
  });
  const auto finished = machine.Run({}, {{0x3f8, 0x3f8, 0xff, true}});
  const auto& exit = std::get<IoExit>(*finished->exit);
  CHECK(exit.data.size() == 4096);
  CHECK(machine.vcpu->TakePortOutput().size() + exit.data.size() == written && written == PortOutput::kMost + 4096);
}

TEST("Port output outlives the vCPU") {
  Machine machine;
  int step = 0;
  machine.OnRun([&](abi::kvm_run& run) {
    if (step++ > 0) return RunForever(run);
    reinterpret_cast<uint8_t*>(&run)[abi::kPageSize] = '!';
    return PortExit(run, abi::kIoOut, 0x3f8, 1, 1);
  });
  machine.vcpu->Run({}, {{0x3f8, 0x3f8, 0xff, true}});
  while (machine.kernel->Count(abi::kRun) < 2) poll(nullptr, 0, 1);
  machine.vcpu->Close();
  CHECK(machine.vcpu->TakePortOutput() == Bytes({'!'}));
}

TEST("Whatever the pages hold, decoding reads nothing outside them") {
  std::vector<std::byte> pages(kRunSize);  // on the heap, where the address sanitizer watches
  std::mt19937_64 random(1);
  const RunPages run_pages(pages);
  for (int i = 0; i < 200'000; i++) {
    for (size_t at = 0; at < 320; at += 8) {
      const uint64_t word = random() >> (random() % 64);
      std::memcpy(pages.data() + at, &word, sizeof word);
    }
    const uint32_t reasons[] = {2, 3, 5, 6, 8, 9, 10, 17, 24, 39, 40, 0, 29};
    run_pages.run().exit_reason = reasons[random() % std::size(reasons)];
    if (random() % 2 == 0) run_pages.run().io.data_offset %= 2 * kRunSize;
    PendingReply pending;
    (void)DecodeExit(run_pages);
    pending.Expect(run_pages);
    PortOutput output;
    (void)AnswerPort({{0, 0xffff, 0, true}}, run_pages, output);
  }
}

}  // namespace
}  // namespace kvmtdx::test

int main() { return kvmtdx::test::RunAll(); }
