#include "../wire.hpp"

#include <random>
#include <string>

#include "../../test/check.hpp"
#include "../path.hpp"
#include "support.hpp"

using namespace kvmtdx::preload;
using namespace kvmtdx::test;

namespace {

/** A RESULT, its length as it should be. */
struct Made {
  Made() { Begin(buffer, Message::kResult); }
  ~Made() { buffer.Release(); }
  Made(const Made&) = delete;
  Made& operator=(const Made&) = delete;

  bool Parse(Result& result) {
    End(buffer);
    return result.Parse(buffer.data(), buffer.size());
  }

  Buffer buffer{};
};

}  // namespace

TEST("a result gives its value, whether it made an object, and its writes in order") {
  Made made;
  made.buffer.Put<int64_t>(-7);
  made.buffer.Put<uint32_t>(1);
  made.buffer.Put<uint32_t>(2);
  for (uint32_t i = 1; i <= 2; i++) {
    made.buffer.Put<uint64_t>(0x1000 * i);
    made.buffer.Put<uint32_t>(i);
    for (uint32_t byte = 0; byte < i; byte++) made.buffer.Put(static_cast<uint8_t>(i));
  }
  Result result;
  CHECK(made.Parse(result));
  CHECK(result.value == -7 && result.made_object);
  std::string seen;
  CHECK(result.EachWrite([&](const Write& write) {
    seen +=
        std::to_string(write.address) + "+" + std::to_string(write.length) + ":" + std::to_string(write.bytes[0]) + " ";
    return true;
  }));
  CHECK(seen == "4096+1:1 8192+2:2 ");
  int count = 0;
  CHECK(!result.EachWrite([&](const Write&) { return ++count > 5; }));
  CHECK(count == 1);
}

TEST("a result that says more or less than it has is malformed") {
  for (const uint32_t writes : {1u, 1000u, ~0u}) {
    Made made;
    made.buffer.Put<int64_t>(0);
    made.buffer.Put<uint32_t>(0);
    made.buffer.Put(writes);
    Result result;
    CHECK(!made.Parse(result));
  }
  Made longer;
  longer.buffer.Put<int64_t>(0);
  longer.buffer.Put<uint32_t>(0);
  longer.buffer.Put<uint32_t>(0);
  longer.buffer.Put<uint8_t>(0);
  Result result;
  CHECK(!longer.Parse(result));
}

TEST("a value that is no errno is malformed, as it would not be an error to libc") {
  Made made;
  made.buffer.Put<int64_t>(-4096);
  made.buffer.Put<uint64_t>(0);
  Result result;
  CHECK(!made.Parse(result));
}

TEST("random bytes are never read past their end") {
  std::mt19937 random(1);
  for (int round = 0; round < 20000; round++) {
    std::vector<uint8_t> bytes(random() % 64);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random() % 4 == 0 ? random() : 0);
    if (bytes.size() > 4) bytes[4] = 129;
    Result result;
    if (!result.Parse(bytes.data(), bytes.size())) continue;
    result.EachWrite([&](const Write& write) { return write.length <= bytes.size(); });
  }
}

TEST("/dev/kvm is recognised however it is written, and nothing else is") {
  for (const char* path :
       {"/dev/kvm", "//dev//kvm", "/dev/./kvm", "/dev/../dev/kvm", "/../dev/kvm", "/a/b/../../dev/kvm"}) {
    CHECK(IsDevKvm(-100, path));
  }
  for (const char* path :
       {"", "kvm", "/dev/kvm2", "/dev/kvm/", "/dev/xkvm", "/dev", "/tmp/dev/kvm", "/dev/kvm/../..", "dev/kvm "}) {
    CHECK(!IsDevKvm(-100, path));
  }
  CHECK(!IsDevKvm(-100, nullptr));
  CHECK(!IsDevKvm(-1, "kvm"));
}
